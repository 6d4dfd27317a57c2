"""The marks of a camera's stream: opened, alive, interrupted, closed.

Ingest says them on `frames`; inference passes them on in order on `detections`, the evaluator's only clock.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic

BOTH = (topics.FRAMES, topics.DETECTIONS)


class StreamOpened(Event, frozen=True, kw_only=True):
    """A new epoch of the stream begins."""

    type: ClassVar[str] = "stream.opened"
    topics: ClassVar[tuple[Topic, ...]] = BOTH

    camera: CameraId
    epoch: int
    opened_at: Micros
    lease: int
    width: int
    height: int
    period: Annotated[
        int, Meta(gt=0, description="Expected time between frames sent on, in microseconds.")
    ]

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.opened_at


class StreamAlive(Event, frozen=True, kw_only=True):
    """One heartbeat a second of event time: the stream stands, whether or not a frame was sent on."""

    type: ClassVar[str] = "stream.alive"
    topics: ClassVar[tuple[Topic, ...]] = BOTH

    camera: CameraId
    epoch: int
    alive_at: Micros
    lease: int

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.alive_at


class StreamInterrupted(Event, frozen=True, kw_only=True):
    """The stream was away from `since` until `until`: nothing is known about that time."""

    type: ClassVar[str] = "stream.interrupted"
    topics: ClassVar[tuple[Topic, ...]] = BOTH

    camera: CameraId
    epoch: Annotated[int, Meta(description="The epoch that ended.")]
    since: Micros
    until: Annotated[
        Micros,
        Meta(description="Event time at which this was known; equals `since` when still away."),
    ]
    lease: int
    reason: str

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.until


class StreamClosed(Event, frozen=True, kw_only=True):
    """The stream ended by itself (a file played to its end) or its camera was removed or switched off."""

    type: ClassVar[str] = "stream.closed"
    topics: ClassVar[tuple[Topic, ...]] = BOTH

    camera: CameraId
    epoch: int
    closed_at: Micros
    lease: int
    reason: str

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.closed_at
