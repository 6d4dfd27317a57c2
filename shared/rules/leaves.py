"""The questions a condition is made of, by what can change their answer: a zone, a line, age, a sample, a frame.

A predicate binds to one of these; the evaluator knows only them. Equal keys are the same question and are
answered once for all rules of a camera.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec

from shared.rules.areas import Area
from shared.rules.lines import Course, Crossing, Direction
from shared.rules.stays import Stay

Classes = frozenset[str] | None
"""Class names asked for; None means any."""

BOOLEAN = 1.0
"""Margin of what has no scale: +1 where it holds, -1 where it does not."""


class View(Protocol):
    """What a frame shows, as far as counting goes."""

    at: int

    def present(self, area: Area | None) -> Mapping[str, int]:
        """Distinct tracks by class in the area (with hysteresis), or on the camera."""
        ...


class Glance(msgspec.Struct):
    """A leaf's subject at one moment, for its margin. What does not apply is None."""

    at: int
    holds: bool
    memory: list[float]
    view: View
    born_at: int = 0
    stay: Stay | None = None
    depth: Callable[[], float] | None = None
    crossing: Crossing | None = None


Gauge = Callable[[Glance], float]


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """A question about one track, or about the frame.

    `key` is its canonical writing; `window` is the time in microseconds that must be known to answer it.
    """

    key: str
    window: int
    gauge: Gauge
    classes: Classes = None
    zone: str = ""
    line: str = ""

    def asks(self, label: str) -> bool:
        """Say whether it is about tracks of this class."""
        return self.classes is None or label in self.classes


class ZoneLeaf(Leaf, frozen=True, kw_only=True):
    """About a track's stay in an area: true at the moment it is entered or left, or `after` so long in it."""

    area: Area
    moment: Literal["entered", "left", "stayed"]
    after: int = 0


class LineLeaf(Leaf, frozen=True, kw_only=True):
    """True at the moment a track has crossed."""

    course: Course
    direction: Direction


class AgeLeaf(Leaf, frozen=True, kw_only=True):
    """True from `after` microseconds of a track's life on."""

    after: int


class SampleLeaf(Leaf, frozen=True, kw_only=True):
    """Asked anew at every sample of a track: `step` updates its memory and answers."""

    area: Area
    step: Callable[[list[float], Stay | None, float, float, int], bool]


class FrameLeaf(Leaf, frozen=True, kw_only=True):
    """About the frame, not a track: asked once a frame, unless its answer cannot have changed.

    `counts`: it changes only when the numbers of tracks do, or its memory says that time is running.
    `by_minute`: it changes only on full minutes.
    """

    step: Callable[[list[float], View], bool]
    area: Area | None = None
    counts: bool = False
    by_minute: bool = False


TrackLeaf = ZoneLeaf | LineLeaf | AgeLeaf | SampleLeaf
