"""The tracks of one camera in one second."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from schemas import topics
from schemas.event import Box, CameraId, Event, Micros, Topic


class TrackPoint(msgspec.Struct, frozen=True):
    """Where a track was in one frame."""

    at: Micros
    box: Box
    score: float


class TrackPath(msgspec.Struct, frozen=True):
    """The points of one track within the second."""

    track: str
    label: str
    born_at: Micros
    points: tuple[TrackPoint, ...]


class TracksObserved(Event, frozen=True, kw_only=True):
    """One event a camera and second of event time with the points of every track seen in it."""

    type: ClassVar[str] = "tracks.observed"
    topics: ClassVar[tuple[Topic, ...]] = (topics.TRACKS,)

    camera: CameraId
    epoch: int
    second_at: Annotated[Micros, Meta(description="Start of the second.")]
    width: int
    height: int
    tracker: Annotated[str, Meta(description="Version of the tracker and its settings.")]
    model: str
    simulated: bool = False
    paths: tuple[TrackPath, ...] = ()

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.second_at
