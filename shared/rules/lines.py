"""Crossing a line: the foot path meets it properly, then stays on the new side for a moment or a step."""

import math
from typing import Literal

import msgspec

from shared.rules.scene import Segment
from shared.vision.polygons import Point, side

Direction = Literal["L2R", "R2L", "any"]

SETTLE = 300_000
"""Microseconds on the new side after which a crossing counts ..."""
STEP = 0.02
"""... or the distance from the line, in fractions of the frame, at which it counts at once."""


class Course:
    """A line as crossings see it, from a to b, with its anchor point (`foot` or `centre`)."""

    __slots__ = ("a", "anchor", "ax", "ay", "b", "by_foot", "dx", "dy", "inverse", "key", "name")

    def __init__(self, name: str, segment: Segment, anchor: str) -> None:
        self.name = name
        self.anchor = anchor
        self.by_foot = anchor == "foot"
        self.a, self.b = segment
        self.ax, self.ay = self.a
        self.dx, self.dy = self.b[0] - self.a[0], self.b[1] - self.a[1]
        self.inverse = 1.0 / math.hypot(self.dx, self.dy)
        self.key = f"{name}@{anchor}:{self.a[0]!r} {self.a[1]!r},{self.b[0]!r} {self.b[1]!r}"

    @property
    def place(self) -> tuple[bool, float, float, float, float]:
        """What the side of a point is worked out from: by the foot or not, first point, direction."""
        return self.by_foot, self.ax, self.ay, self.dx, self.dy

    def offset(self, x: float, y: float) -> float:
        """(b - a) x (p - a): its sign is the side, right of a walker from a to b being positive (y down)."""
        return self.dx * (y - self.ay) - self.dy * (x - self.ax)

    def holds(self, p: Point) -> bool:
        """Say whether a point of the infinite line lies between a and b, ends included."""
        along = (p[0] - self.a[0]) * self.dx + (p[1] - self.a[1]) * self.dy
        return 0.0 <= along <= self.dx * self.dx + self.dy * self.dy

    def met(self, p: Point, q: Point) -> bool:
        """Say whether the path from p to q, which lie on different sides, passes between a and b, ends included."""
        return side(p, q, self.a) * side(p, q, self.b) <= 0


class Crossing(msgspec.Struct):
    """A crossing that is not settled: its new side (+1 right, -1 left), since when, how far from the line."""

    side: int
    since: int
    elapsed: int = 0
    distance: float = 0.0

    @property
    def settled(self) -> bool:
        """Long enough or far enough on the new side."""
        return self.elapsed >= SETTLE or self.distance >= STEP

    @property
    def margin(self) -> float:
        """How far beyond being settled: the better of time and distance."""
        return max((self.elapsed - SETTLE) / SETTLE, (self.distance - STEP) / STEP)


class Walk:
    """One track and one line: the side it is on, and a crossing on its way.

    `side`: last side it was strictly on, 0 before the first. `touched`: it stands on the line itself, between
    its ends. `pending`: the crossing that is not settled yet.
    """

    __slots__ = ("pending", "side", "touched")

    def __init__(self) -> None:
        self.side = 0
        self.touched = False
        self.pending: Crossing | None = None

    def step(self, course: Course, before: Point | None, now: Point, at: int) -> Crossing | None:
        """Go from the sample `before` to `now`; answers the crossing that this settles.

        The caller may leave out a sample on the same side as the last one while nothing is pending.
        """
        offset = course.offset(*now)
        here = (offset > 0.0) - (offset < 0.0)
        if here == 0:
            self.touched = self.touched or course.holds(now)
            return None
        if here != self.side:
            self._change(course, before, now, (here, at))
        self.touched = False
        pending = self.pending
        if pending is None:
            return None
        pending.elapsed = at - pending.since
        pending.distance = abs(offset) * course.inverse
        return pending if pending.settled else None

    def _change(
        self, course: Course, before: Point | None, now: Point, arrival: tuple[int, int]
    ) -> None:
        """The side changed: by the line, around its end, or back over a crossing that had not settled."""
        here, at = arrival
        known, self.side = self.side, here
        if self.pending is not None:
            self.pending = None  # back before it settled: it never crossed
        elif (
            known != 0
            and before is not None
            and (self.touched or self._passed(course, before, now))
        ):
            self.pending = Crossing(here, at)

    @staticmethod
    def _passed(course: Course, before: Point, now: Point) -> bool:
        """The path met the line; a path that comes from the line itself met it there, or not at all."""
        return course.offset(*before) != 0.0 and course.met(before, now)
