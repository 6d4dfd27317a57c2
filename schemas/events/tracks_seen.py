"""The tracks of one looked-at frame, for overlays."""

from typing import ClassVar

import msgspec

from schemas import topics
from schemas.event import Box, CameraId, Event, Micros, Topic


class SeenTrack(msgspec.Struct, frozen=True):
    """A track as it stands in this frame; `held` when this frame did not look where it is."""

    track: str
    label: str
    box: Box
    score: float
    held: bool = False


class TracksSeen(Event, frozen=True, kw_only=True):
    """One event a looked-at frame."""

    type: ClassVar[str] = "tracks.seen"
    topics: ClassVar[tuple[Topic, ...]] = (topics.TRACKS_LIVE,)

    camera: CameraId
    epoch: int
    seq: int
    captured_at: Micros
    width: int
    height: int
    simulated: bool = False
    tracks: tuple[SeenTrack, ...] = ()

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.captured_at
