"""A camera's connection changed."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic


class CameraStatusChanged(Event, frozen=True, kw_only=True):
    """The connection of a camera changed its state, or its reader's figures are due (every 10 s)."""

    type: ClassVar[str] = "camera.status-changed"
    topics: ClassVar[tuple[Topic, ...]] = (topics.CAMERA_STATUS,)

    camera: CameraId
    state: Literal[
        "connecting", "online", "retrying", "offline", "auth_failed", "ended", "disabled", "error"
    ]
    reason: Annotated[
        str, Meta(description="In plain words, with the remedy where one is known.")
    ] = ""
    epoch: int = 0
    lease: int = 0
    changed_at: Micros
    width: int = 0
    height: int = 0
    fps: Annotated[float, Meta(ge=0, description="Frames per second read.")] = 0.0
    sent: Annotated[int, Meta(ge=0, description="Frames sent on in this epoch.")] = 0
    dropped: Annotated[
        int, Meta(ge=0, description="Frames dropped at the reader in this epoch.")
    ] = 0
    attempt: int = 0

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.changed_at
