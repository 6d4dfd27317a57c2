"""The port of a detector, and what its words mean.

- A *model* has a name, and a digest of what it was made of; together they stand on every decision it led to.
- A *frame* is what a detector is shown: the whole picture of a camera, or a region cut out of it.
- A *box* is (left, top, width, height) in pixels of the frame that was shown.
- `batch`: frames that one call may take. `parallel`: calls that may run at the same time, in threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared.errors import Invalid, VantageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from schemas.events.detections_made import Detection
    from shared.images import Pixels


class DetectorFailed(VantageError):
    """A model that was loaded could not look at a frame. The text names the model and the reason."""

    code = "detector_failed"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What looks. `simulated`: its detections come from a script, not from what is seen."""

    name: str
    digest: str = ""
    labels: tuple[str, ...] = ()
    batch: int = 1
    parallel: int = 1
    simulated: bool = False

    @property
    def version(self) -> str:
        """Name and digest, as they stand on decisions: `yolox_nano@c8b1f3a09d27`."""
        return f"{self.name}@{self.digest}" if self.digest else self.name


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture to look at; `elapsed`: microseconds of event time since its stream was opened."""

    pixels: Pixels
    elapsed: int = 0


class Detector(Protocol):
    """Finds objects in frames. Calls block; they may come from `model.parallel` threads at a time."""

    @property
    def model(self) -> Model:
        """What looks."""
        ...

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        """What is seen in each frame, best first; equal scores stay in a fixed order.

        Boxes lie inside their frame and have an area. `threshold`: least score, 0..1. `nms`: greatest
        intersection over union of two boxes of one class that both stay. `classes`: labels that are
        looked for, all if empty; labels that the model does not know are never found.

        Raises:
            shared.errors.Invalid: a frame is not uint8 of (height, width, 3), or more than `model.batch`.
            DetectorFailed: the model could not look, or its answer holds numbers that are none.
        """
        ...

    def close(self) -> None:
        """Give memory and devices back; no call may follow."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a model is run.

    `providers`: names of execution providers, in order of preference; `cpu` always works.
    `threads`: threads inside one call. `parallel`: calls at a time. `batch`: frames a call, where the model's batch axis is dynamic.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 1
    parallel: int = 1
    batch: int = 1


def require_frames(frames: Sequence[Frame], model: Model) -> None:
    """Refuse what no detector can look at.

    Raises:
        Invalid: too many frames for one call, or one that is not uint8 of (height, width, 3).
    """
    if len(frames) > model.batch:
        raise Invalid(
            f"{len(frames)} frames at once; {model.version} takes {model.batch}", field="frames"
        )
    for frame in frames:
        shape, kind = frame.pixels.shape, frame.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != "uint8":
            raise Invalid(
                f"frame is {shape} of {kind}; give uint8 of (height, width, 3)", field="frames"
            )
