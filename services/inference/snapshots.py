"""The pictures that were looked at last, as JPEG, so that an incident gets the one that it was decided on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.cloudevents import JpegPicture

if TYPE_CHECKING:
    from schemas.event import Picture
    from schemas.events.frame_captured import FrameCaptured

SECOND = 1_000_000
NEAR = 2 * SECOND
"""How far from the matched frame another may be that stands in for it."""


@dataclass(eq=False)
class Kept:
    """A picture that was looked at; `size` is 0 until it is a JPEG."""

    epoch: int
    seq: int
    at: int
    picture: Picture
    size: int = 0


class Rings:
    """A ring of pictures a camera: `seconds` of event time, all rings together at most `limit` bytes."""

    def __init__(self, *, seconds: float, limit: int) -> None:
        self._span = round(seconds * SECOND)
        self._limit = limit
        self._rings: dict[str, deque[Kept]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all JPEGs kept."""
        return self._size

    def keep(self, event: FrameCaptured, picture: Picture) -> Kept:
        """Keep a picture, as it is at first; `pack` it soon."""
        ring = self._rings.setdefault(event.camera, deque())
        kept = Kept(event.epoch, event.seq, event.captured_at, picture)
        ring.append(kept)
        while abs(event.captured_at - ring[0].at) > self._span:
            self._forget(ring)
        return kept

    def pack(self, kept: Kept, jpeg: bytes) -> None:
        """Keep the JPEG in place of the pixels; where memory ends the longest ring loses its oldest picture."""
        if not any(kept is each for ring in self._rings.values() for each in reversed(ring)):
            return
        kept.picture = JpegPicture(jpeg)
        kept.size = len(jpeg)
        self._size += kept.size
        while self._size > self._limit:
            self._forget(max(self._rings.values(), key=_weight))

    def nearest(self, camera: str, epoch: int, seq: int, at: int) -> Picture | None:
        """The picture of this frame, or else the one nearest in time, or None where none is near."""
        ring = self._rings.get(camera, ())
        for kept in ring:
            if (kept.epoch, kept.seq) == (epoch, seq):
                return kept.picture
        best = min(ring, key=lambda kept: abs(kept.at - at), default=None)
        return best.picture if best is not None and abs(best.at - at) <= NEAR else None

    def holds(self, camera: str) -> bool:
        """Whether this process looks at the camera."""
        return camera in self._rings

    def drop(self, camera: str) -> None:
        """Another process looks at it now, or nobody."""
        self._size -= sum(kept.size for kept in self._rings.pop(camera, ()))

    def _forget(self, ring: deque[Kept]) -> None:
        self._size -= ring.popleft().size


def _weight(ring: deque[Kept]) -> int:
    return sum(kept.size for kept in ring)
