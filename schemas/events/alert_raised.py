"""A person should look."""

from typing import Annotated, ClassVar

from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic
from schemas.events.incident_changes import Cause, Margin, Severity


class AlertRaised(Event, frozen=True, kw_only=True):
    """A rule matched and a person should look: one per incident that is worth an alert."""

    type: ClassVar[str] = "alert.raised"
    topics: ClassVar[tuple[Topic, ...]] = (topics.ALERTS,)

    alert: str
    incident: str
    camera: CameraId
    camera_name: str
    site: str
    severity: Severity
    title: str
    summary: Annotated[
        str, Meta(description="One sentence a guard can act on, made from facts alone.")
    ]
    label: str = ""
    tracks: tuple[str, ...] = ()
    zone: str = ""
    line: str = ""
    epoch: int
    seq: int
    matched_at: Micros
    raised_at: Annotated[
        Micros, Meta(description="Host time of the decision; not used by any decision.")
    ]
    margin: Margin
    simulated: bool = False
    cameras: Annotated[
        tuple[CameraId, ...], Meta(description="All it rests on, where a rule sees several.")
    ] = ()
    snapshot: str
    cause: Cause

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.matched_at
