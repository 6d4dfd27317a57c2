"""The motion gate: whether a frame is looked at, and how much of it. Pure.

Regions with motion and regions around what was detected in the last ten seconds are looked at; the whole frame
at least every two seconds of event time, and by whoever sees the camera for the first time. A plan's rate only
thins. One call of the model costs the same for a region as for a frame, so regions are looked at as the one
rectangle around them, and as the whole frame where that is not much larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shared.vision.boxes import buffered, iou, to_ltrb, union

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Box
    from schemas.events.frame_captured import FrameCaptured

Coverage: TypeAlias = Literal["full", "regions", "none"]

SECOND = 1_000_000
FULL_EVERY = 2 * SECOND
REMEMBERED = 10 * SECOND
LEAST_SIDE = 320.0
"""Pixels: a region below that is enlarged until it holds what stands around it."""
MARGIN = 0.25
"""Share of its own size by which a region is wider than what moves in it, on each side."""
LARGE = 0.6
"""Share of the frame from which the whole frame is looked at instead."""
SAME = 0.3
"""Overlap at which a detection takes the place of one that is remembered."""
MOST = 64
"""Boxes that are remembered: the newest."""


@dataclass(frozen=True)
class Glance:
    """How much of a frame is looked at; `regions` are pixels of the frame."""

    coverage: Coverage
    regions: tuple[Box, ...] = ()


FULL = Glance("full")
NONE = Glance("none")


class Gate:
    """The gate of one camera in one epoch. Times are event time, in microseconds."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._full_at: int | None = None
        self._seen: list[tuple[int, Box]] = []

    def decide(
        self, frame: FrameCaptured, *, rate: float, period: int, every_frame: bool = False
    ) -> Glance:
        """What to look at. `rate`: looks per second; `period`: expected time between frames."""
        if every_frame:
            return FULL
        at = frame.captured_at
        step = SECOND / rate
        if not self._is_due(at, step, period):
            return NONE
        if self._full_at is None or at + max(step, period) - self._full_at > FULL_EVERY:
            return FULL
        self._seen = [each for each in self._seen if at - each[0] <= REMEMBERED]
        places = [*frame.motion, *(box for _, box in self._seen)]
        return around(places, frame.width, frame.height)

    def looked(self, at: int, glance: Glance, boxes: Sequence[Box]) -> None:
        """Remember a look: only now has it happened."""
        if glance.coverage == "full":
            self._full_at = at
        if boxes:
            gone = self._matched(boxes)
            self._seen = [each for each, same in zip(self._seen, gone, strict=True) if not same]
            self._seen = [*self._seen, *((at, box) for box in boxes)][-MOST:]

    def _is_due(self, at: int, step: float, period: int) -> bool:
        """Whether the plan's rate allows a look; frames up to half a period early count as on time."""
        if self._due is not None and at + period / 2 < self._due:
            return False
        behind = self._due is None or at - self._due >= step
        self._due = (at if behind or self._due is None else self._due) + step
        return True

    def _matched(self, boxes: Sequence[Box]) -> list[bool]:
        """Of each remembered box whether it was detected again."""
        if not self._seen:
            return []
        before = np.array([box for _, box in self._seen], np.float64)
        overlap = iou(to_ltrb(before), to_ltrb(np.array(boxes, np.float64)))
        return [bool(same) for same in overlap.max(axis=1) >= SAME]


def around(places: Sequence[Box], width: int, height: int) -> Glance:
    """The rectangle around all places with a margin, in whole pixels within the frame."""
    if not places:
        return NONE
    grown = union(buffered(to_ltrb(np.array(places, np.float64)), MARGIN))
    left, right = _span(float(grown[0]), float(grown[2]), width)
    top, bottom = _span(float(grown[1]), float(grown[3]), height)
    if (right - left) * (bottom - top) >= LARGE * width * height:
        return FULL
    return Glance("regions", ((left, top, right - left, bottom - top),))


def _span(low: float, high: float, room: int) -> tuple[float, float]:
    """A stretch of whole pixels of at least LEAST_SIDE, moved and cut to fit into 0..room."""
    missing = max(0.0, LEAST_SIDE - (high - low))
    low, high = low - missing / 2, high + missing / 2
    shift = max(0.0, -low) - max(0.0, high - room)
    return float(max(0, math.floor(low + shift))), float(min(room, math.ceil(high + shift)))
