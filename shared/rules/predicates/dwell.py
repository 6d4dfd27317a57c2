"""`dwell`: a track stays in a zone."""

import math
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from shared.rules.areas import FOOT, Area
from shared.rules.durations import Duration
from shared.rules.errors import refuse
from shared.rules.leaves import Classes, Glance, SampleLeaf, ZoneLeaf
from shared.rules.predicates.port import ClassNames, Fields, area, classes, key
from shared.rules.reading import read
from shared.rules.scene import Scene
from shared.rules.stays import Stay


class Dwell(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True once a track is inside `min` or longer after the first sample of its stay, until it has left.

    Stepping out for less than it takes to leave does not begin a stay anew; only a sample inside counts up.

    `continuous` begins anew after leaving; `cumulative` adds up the time inside over the last `window`.
    With `max_move` (fraction of the frame) the time counts from where the track last stood still: it begins anew
    when the anchor is farther than that from where it began. Margin: (d - min) / min.
    """

    zone: str
    min: Duration
    classes: ClassNames = msgspec.field(name="class", default=None)
    anchor: str = FOOT
    mode: Literal["continuous", "cumulative"] = "continuous"
    window: Duration | None = None
    max_move: Annotated[float, Meta(gt=0, le=1)] | None = None

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """From its fields."""
        dwell = read(cls, raw, path)
        if dwell.min <= 0:
            raise refuse(f"{path}.min", "0s", "no time at all", "use enter, or write at least 1s")
        dwell._check_mode(path)
        return dwell

    def bind(self, scene: Scene, path: str) -> ZoneLeaf | SampleLeaf:
        """Ask the stay; a cumulative or standing dwell is asked at each sample."""
        where, who = area(scene, self.zone, self.anchor, path), classes(self.classes, path)
        if self.mode == "cumulative":
            return self._cumulative(where, who, self.window or Duration(0))
        if self.max_move is not None:
            return self._standing(where, who, self.max_move)
        minimum = self.min
        return ZoneLeaf(
            key=key("dwell", who, where.key, minimum),
            classes=who,
            zone=self.zone,
            area=where,
            moment="stayed",
            after=minimum,
            window=minimum,
            gauge=lambda glance: (_elapsed(glance) - minimum) / minimum,
        )

    def _cumulative(self, where: Area, who: Classes, window: int) -> SampleLeaf:
        minimum = self.min

        def step(memory: list[float], stay: Stay | None, _x: float, _y: float, at: int) -> bool:
            return _inside_within(memory, stay, at - window) >= minimum

        return SampleLeaf(
            key=key("dwell", who, where.key, minimum, "cumulative", window),
            classes=who,
            zone=self.zone,
            area=where,
            window=window,
            step=step,
            gauge=lambda glance: (
                (_inside_within(list(glance.memory), glance.stay, glance.at - window) - minimum)
                / minimum
            ),
        )

    def _standing(self, where: Area, who: Classes, reach: float) -> SampleLeaf:
        minimum = self.min

        def step(memory: list[float], stay: Stay | None, x: float, y: float, at: int) -> bool:
            if stay is None:
                memory.clear()
                return False
            if stay.left >= 0:
                return bool(memory) and stay.until - memory[0] >= minimum and stay.inside
            if not memory or math.hypot(x - memory[1], y - memory[2]) > reach:
                memory[:] = (at, x, y)
            return stay.inside and at - memory[0] >= minimum

        return SampleLeaf(
            key=key("dwell", who, where.key, minimum, "standing", reach),
            classes=who,
            zone=self.zone,
            area=where,
            window=minimum,
            step=step,
            gauge=lambda glance: (
                (((glance.at - glance.memory[0]) if glance.memory else 0) - minimum) / minimum
            ),
        )

    def _check_mode(self, path: str) -> None:
        if self.mode == "cumulative" and (self.window is None or self.window < self.min):
            raise refuse(
                f"{path}.window",
                self.window,
                "a cumulative dwell needs a window at least as long as min",
                "add window: 10m",
            )
        if self.mode == "continuous" and self.window is not None:
            raise refuse(
                f"{path}.window",
                self.window,
                "a continuous dwell has no window",
                "add mode: cumulative",
            )
        if self.mode == "cumulative" and self.max_move is not None:
            raise refuse(
                f"{path}.max_move",
                self.max_move,
                "max_move goes with a continuous dwell",
                "leave one of the two out",
            )


def _elapsed(glance: Glance) -> int:
    stay = glance.stay
    return stay.until - stay.since if stay is not None else 0


def _inside_within(memory: list[float], stay: Stay | None, start: int) -> float:
    """Time inside since `start`; `memory` is pairs of (since, until), the stay that is on its way the last one."""
    if stay is not None and stay.inside:
        if memory and memory[-2] == stay.since:
            memory[-1] = stay.until
        else:
            memory.extend((stay.since, stay.until))
    while memory and memory[1] <= start:
        del memory[:2]
    pairs = zip(memory[::2], memory[1::2], strict=True)
    return sum(until - max(since, start) for since, until in pairs)
