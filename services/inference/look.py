"""Looking at one frame: what the detector is shown, and where in the frame its answers lie. Blocks; for threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.events.detections_made import Detection
from services.inference.backends.port import Detector, Frame, Model
from shared import images
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Box, Envelope
    from schemas.events.frame_captured import FrameCaptured
    from schemas.events.plan_decided import PlanDecided
    from services.inference.gate import Glance

EDGE = 2.0
"""Pixels: a box this close to the edge of a region is one that the region cuts."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A frame that waits to be looked at."""

    envelope: Envelope
    event: FrameCaptured
    plan: PlanDecided
    detector: Detector
    glance: Glance
    elapsed: int
    skipped: int

    @property
    def model(self) -> Model:
        """What will look."""
        return self.detector.model


def look_at(look: Look) -> list[Detection]:
    """Show one frame to its detector; takes as long as the model does.

    Raises:
        DetectorFailed: the model could not look.
        shared.errors.Invalid: the frame's picture is broken.
    """
    return look_together([look], [show(look)])[0]


def show(look: Look) -> Frame:
    """What the detector is shown: the frame, or the region of it that is looked at. Decodes a JPEG.

    Raises:
        shared.errors.Invalid: the picture is broken, or of another size than its event says.
    """
    event = look.event
    if look.envelope.picture is None:
        raise Invalid(f"frame {look.envelope.id} has no picture", field="picture")
    pixels = images.pixels(look.envelope.picture)
    if pixels.shape[:2] != (event.height, event.width):
        raise Invalid(
            f"frame {look.envelope.id} is {pixels.shape[1]}x{pixels.shape[0]}; "
            f"its event says {event.width}x{event.height}",
            field="picture",
        )
    if look.glance.regions and not look.model.simulated:
        left, top, width, height = (int(side) for side in look.glance.regions[0])
        pixels = pixels[top : top + height, left : left + width]
    return Frame(pixels, look.elapsed)


def look_together(looks: Sequence[Look], frames: Sequence[Frame]) -> list[list[Detection]]:
    """Show several frames in one call; all have the same detector and the same `wish`.

    Boxes come back in pixels of the whole frame; one that a region cuts is left out: its feet may be elsewhere.

    Raises:
        DetectorFailed: the model could not look.
    """
    plan = looks[0].plan
    found = looks[0].detector.detect(
        frames, threshold=plan.threshold, nms=plan.nms, classes=plan.classes
    )
    return [_placed(look, seen) for look, seen in zip(looks, found, strict=True)]


def wish(plan: PlanDecided) -> tuple[float, float, tuple[str, ...]]:
    """What a plan asks of a detector; looks of one wish may share a call."""
    return plan.threshold, plan.nms, plan.classes


def _placed(look: Look, found: list[Detection]) -> list[Detection]:
    if not look.glance.regions:
        return found
    region = look.glance.regions[0]
    if not look.model.simulated:
        found = [_moved(seen, region[0], region[1]) for seen in found]
    frame = (look.event.width, look.event.height)
    return [seen for seen in found if not _is_cut(seen.box, region, frame)]


def _moved(seen: Detection, left: float, top: float) -> Detection:
    x, y, width, height = seen.box
    return Detection(label=seen.label, score=seen.score, box=(x + left, y + top, width, height))


def _is_cut(box: Box, region: Box, frame: tuple[int, int]) -> bool:
    """Whether the box reaches an edge of the region that is no edge of the frame."""
    for axis in (0, 1):
        low, high = region[axis], region[axis] + region[axis + 2]
        if low > 0 and box[axis] < low + EDGE:
            return True
        if high < frame[axis] and box[axis] + box[axis + 2] > high - EDGE:
            return True
    return False
