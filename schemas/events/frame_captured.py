"""A camera's picture left its reader."""

from typing import Annotated, ClassVar

from msgspec import Meta

from schemas import topics
from schemas.event import Box, CameraId, Event, Micros, Topic


class FrameCaptured(Event, frozen=True, kw_only=True):
    """A picture left the reader, privacy masks burned in. The record's value is the picture itself."""

    type: ClassVar[str] = "frame.captured"
    topics: ClassVar[tuple[Topic, ...]] = (topics.FRAMES,)

    camera: CameraId
    epoch: Annotated[int, Meta(ge=0, description="Connection of the camera, +1 at each connect.")]
    seq: Annotated[int, Meta(ge=0, description="Ordinal of the frame in its epoch, from 1.")]
    captured_at: Micros
    read_at: Annotated[Micros, Meta(description="Host time at which it left the reader.")]
    width: int
    height: int
    lease: Annotated[
        int, Meta(ge=0, description="Fencing token: generation of the camera's lease.")
    ]
    motion: tuple[Box, ...] = ()

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.captured_at
