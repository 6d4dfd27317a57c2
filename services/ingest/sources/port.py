"""What a source of pictures is.

- A *pass* is one connection, or one playing of a file: it becomes one epoch of the camera's stream.
- A shot's *offset* is the time since its pass began; its *position* is where it lies in the film, which is more
  where a pass did not begin at the film's start. Both are microseconds.
- A *live* source cannot wait: what is not taken in time is lost. Any other waits for its reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

Trouble = Literal["auth", "unreachable", "timeout", "unreadable", "undecodable", "interrupted"]
"""`auth`: the login was refused. `unreadable`: trying again changes nothing until somebody corrects it."""

LARGEST_PICTURE = 5120 * 2880


class SourceError(Exception):
    """A source cannot be read (any more). `reason` is for people and carries no password."""

    def __init__(self, kind: Trouble, reason: str) -> None:
        super().__init__(reason)
        self.kind: Trouble = kind
        self.reason = reason


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What to open. `url` carries user and password where there are any, and the address that was checked."""

    url: str
    start: int = 0  # position, for sources that can go on in the middle
    threads: int = 1  # of the decoder
    max_pixels: int = LARGEST_PICTURE
    open_timeout: float = 10.0
    read_timeout: float = 10.0


class Shot(NamedTuple):
    """One picture, not yet unpacked: `picture` makes a uint8 BGR array that the caller may write to."""

    offset: int
    position: int
    begins: bool  # a new pass
    picture: Callable[[], Pixels]


class Source(Protocol):
    """An opened source. `fps` is 0 where it is not known; `paced` means: play it at its own rate.

    `still`: polygons of its pictures, in fractions, that always change and mean nothing.
    """

    codec: str
    fps: float
    live: bool
    paced: bool
    still: tuple[tuple[tuple[float, float], ...], ...]

    def shots(self) -> Iterator[Shot]:
        """The pictures in their order; ends where the source ends by itself.

        Raises:
            SourceError: it cannot be read any more.
        """
        ...

    def close(self) -> None:
        """Let go of it. Safe to call twice."""
        ...
