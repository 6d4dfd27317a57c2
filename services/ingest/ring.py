"""Pictures in memory that a reader process and the service share.

The memory is an unnamed file, handed over as an open file: when both processes are gone, however they went, so is
it. The reader fills slots in turn; the service counts what it has taken; a slot is free again once it was taken.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = mmap.PAGESIZE


class Ring:
    """Slots for pictures of one size: uint8 BGR of shape (height, width, 3)."""

    def __init__(self, file: int, width: int, height: int, slots: int) -> None:
        size = _HEADER + slots * width * height * 3
        self._map = mmap.mmap(file, size)
        # Eight aligned bytes are read and written as one: no lock is needed for a counter with one writer.
        self._taken = np.frombuffer(self._map, np.uint64, count=1)
        pixels = np.frombuffer(self._map, np.uint8, offset=_HEADER)
        self._pictures = pixels[: slots * width * height * 3].reshape(slots, height, width, 3)
        self.slots = slots
        self._put = 0

    @property
    def full(self) -> bool:
        """Whether every slot waits to be taken."""
        return self._put - int(self._taken[0]) >= self.slots

    def put(self, picture: NDArray[np.uint8]) -> int:
        """Copy a picture into the next slot and name the slot. The reader's side; only when not full."""
        slot = self._put % self.slots
        self._pictures[slot] = picture
        self._put += 1
        return slot

    def copy(self, slot: int) -> NDArray[np.uint8]:
        """The picture in a slot, as an array of its own. The service's side."""
        return np.array(self._pictures[slot])

    def took(self) -> None:
        """Free the oldest filled slot. The service's side."""
        self._taken[0] += np.uint64(1)


def make_file(width: int, height: int, slots: int) -> int:
    """An unnamed file of the ring's size; the caller closes it."""
    size = _HEADER + slots * width * height * 3
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("vantage-ring")
    else:
        file, name = tempfile.mkstemp()
        Path(name).unlink()
    os.ftruncate(file, size)
    return file
