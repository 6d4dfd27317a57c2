"""A detector looked at a frame."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from schemas import topics
from schemas.event import Box, CameraId, Event, Micros, Topic


class Detection(msgspec.Struct, frozen=True, array_like=False):
    """One object in one frame."""

    label: str
    score: Annotated[float, Meta(ge=0, le=1)]
    box: Box


class DetectionsMade(Event, frozen=True, kw_only=True):
    """What was seen in one frame, and how much of the frame was looked at."""

    type: ClassVar[str] = "detections.made"
    topics: ClassVar[tuple[Topic, ...]] = (topics.DETECTIONS,)

    camera: CameraId
    epoch: int
    seq: int
    captured_at: Micros
    width: int
    height: int
    lease: int
    coverage: Annotated[
        Literal["full", "regions", "none"], Meta(description="How much of the frame was looked at.")
    ]
    regions: Annotated[
        tuple[Box, ...], Meta(description="What was looked at where coverage is `regions`.")
    ] = ()
    period: Annotated[int, Meta(gt=0, description="Expected time between looks, in microseconds.")]
    model: Annotated[
        str, Meta(description="Name and digest of the model that looked; empty when none did.")
    ]
    plan: Annotated[int, Meta(description="Version of the plan it followed.")] = 0
    simulated: Annotated[
        bool, Meta(description="The detections come from a script, not from the picture.")
    ] = False
    skipped: Annotated[
        int, Meta(ge=0, description="Frames dropped at admission since the last event.")
    ] = 0
    detections: tuple[Detection, ...] = ()

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.captured_at
