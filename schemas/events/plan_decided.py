"""What inference looks for on one camera."""

from typing import Annotated, ClassVar

from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic


class PlanDecided(Event, frozen=True, kw_only=True):
    """The orchestrator decided what is looked for on a camera; a tombstone stops looking."""

    type: ClassVar[str] = "plan.decided"
    topics: ClassVar[tuple[Topic, ...]] = (topics.PLANS,)

    camera: CameraId
    model: Annotated[str, Meta(description="Empty: the service's default model.")] = ""
    backend: str = ""
    classes: tuple[str, ...] = ()
    threshold: float = 0.4
    nms: float = 0.45
    rate: Annotated[
        float, Meta(gt=0, description="Looks per second; may only thin what ingest sends.")
    ]
    every_frame: bool = False
    priority: Annotated[int, Meta(description="Higher survives load longer.")] = 0
    plan_version: int
    decided_at: Micros

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.decided_at
