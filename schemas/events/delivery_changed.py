"""What became of an alert on one channel."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic
from schemas.events.incident_changes import Severity


class DeliveryChanged(Event, frozen=True, kw_only=True):
    """A delivery was made, will be tried again, or was given up."""

    type: ClassVar[str] = "delivery.changed"
    topics: ClassVar[tuple[Topic, ...]] = (topics.DELIVERIES,)

    delivery: Annotated[
        str, Meta(description="One distinct id per alert and subscription: the webhook-id.")
    ]
    alert: str
    incident: str
    camera: CameraId
    subscription: str
    channel: Literal["console", "webhook"]
    severity: Severity
    title: str
    summary: str
    state: Literal["delivered", "retrying", "failed"]
    attempt: Annotated[int, Meta(ge=1)]
    changed_at: Micros
    next_at: Micros | None = None
    detail: Annotated[str, Meta(description="Receipt or error, e.g. `HTTP 204`.")] = ""

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.changed_at
