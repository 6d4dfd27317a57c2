"""The current document of a camera."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Point, Topic

Name = Annotated[str, Meta(min_length=1, max_length=64)]


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A polygon on the frame; even-odd, its boundary is inside."""

    name: Name
    points: Annotated[tuple[Point, ...], Meta(min_length=3, max_length=64)]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A directed line from a to b; looking from a to b, L2R goes from its left to its right as seen on the screen."""

    name: Name
    a: Point
    b: Point


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """A polygon: `privacy` is burned in before anything leaves the reader, `motion` only ignores motion."""

    name: Name
    kind: str = "privacy"
    points: Annotated[tuple[Point, ...], Meta(min_length=3, max_length=64)]


class Detect(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for. `model` empty: the service's default model."""

    model: str = ""
    backend: str = ""
    classes: tuple[str, ...] = ("person",)
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.4
    nms: Annotated[float, Meta(ge=0, le=1)] = 0.45
    rate: Annotated[
        float, Meta(gt=0, le=60, description="Frames per second sent on to detection.")
    ] = 5.0
    every_frame: Annotated[
        bool, Meta(description="No motion gate: look at each frame in full.")
    ] = False


class CameraConfigured(Event, frozen=True, kw_only=True):
    """The full current document of one camera; a tombstone says it was removed."""

    type: ClassVar[str] = "camera.configured"
    topics: ClassVar[tuple[Topic, ...]] = (topics.CAMERAS,)

    camera: CameraId
    name: str
    site: str
    time_zone: Annotated[str, Meta(description="IANA name.")]
    enabled: bool = True
    url: Annotated[str, Meta(description="Without user and password.")]
    credentials: Annotated[
        str, Meta(description="Sealed by envelope encryption; empty when there are none.")
    ] = ""
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    masks: tuple[Mask, ...] = ()
    detect: Detect = Detect()
    document_version: Annotated[int, Meta(ge=1, description="+1 at every change.")]
    effective_at: Annotated[
        Micros, Meta(description="Event time from which the evaluator uses it.")
    ]

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.effective_at
