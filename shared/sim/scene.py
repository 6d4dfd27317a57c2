"""A simulated yard: who is where at any presentation time, exactly, from a seed.

Times are integer microseconds from the start of the scene. Places are fractions of the frame, x to the right and
y downwards. The yard has a door (zone `door`), a stretch of fence (zone `fence`) and a gate (line `gate`). Acts of
twenty seconds follow each other; in each, people cross the gate both ways, visit the door and hang about the fence,
on lanes so far apart that nobody hides anybody. Each act ends empty, so that a loop has no seam.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from schemas.events.camera_configured import Line, Zone

if TYPE_CHECKING:
    from schemas.event import Box

Place: TypeAlias = tuple[float, float]

SECOND = 1_000_000
ACT_S = 20
SHORTEST_S, LONGEST_S = 5.0, 86_400.0
STRIDE_S = 1.0
"""Seconds that a walker takes for a left and a right step."""

DOOR = Zone(name="door", points=((0.06, 0.48), (0.36, 0.48), (0.40, 0.68), (0.04, 0.68)))
FENCE = Zone(name="fence", points=((0.70, 0.50), (0.95, 0.50), (0.96, 0.72), (0.67, 0.72)))
GATE = Line(name="gate", a=(0.54, 1.0), b=(0.60, 0.50))


class Leg(NamedTuple):
    """A straight stretch of somebody's way, at an even pace."""

    start: int
    end: int
    a: Place
    b: Place


class Actor(NamedTuple):
    """Somebody who can be seen now. `box` is left, top, width, height in fractions of the frame."""

    id: str
    label: str
    box: Box
    foot: Place
    heading: int  # -1 walks to the left, 1 to the right, 0 stands
    stride: float  # 0..1 within a left and a right step
    look: int

    def pixels(self, width: int, height: int) -> Box:
        """The box in pixels of a frame of that size."""
        left, top, wide, high = self.box
        return left * width, top * height, wide * width, high * height


@dataclass(frozen=True)
class Walker:
    """One person's whole way through the scene."""

    id: str
    look: int
    legs: tuple[Leg, ...]

    @property
    def enters_at(self) -> int:
        """When the way begins."""
        return self.legs[0].start

    @property
    def leaves_at(self) -> int:
        """When it ends; nobody is there any more at this very time."""
        return self.legs[-1].end

    def at(self, time: int) -> Actor | None:
        """Who is seen where, or None where nothing of them is in the frame."""
        leg = self._leg(time)
        if leg is None:
            return None
        place = _along(leg, time)
        if not 0.0 <= place[0] <= 1.0:
            return None
        way = leg.b[0] - leg.a[0]
        moves = (abs(way) + abs(leg.b[1] - leg.a[1])) * SECOND / (leg.end - leg.start) > 0.02
        heading = (1 if way > 0 else -1) if moves else 0
        stride = ((time - leg.start) / (STRIDE_S * SECOND)) % 1.0 if moves else 0.0
        box = standing_box(*place)
        foot = (box[0] + box[2] / 2, box[1] + box[3])
        return Actor(self.id, "person", box, foot, heading, stride, self.look)

    def place(self, time: int) -> Place | None:
        """Where the person walks, also where that is out of the frame; None before and after the way."""
        leg = self._leg(time)
        return None if leg is None else _along(leg, time)

    def _leg(self, time: int) -> Leg | None:
        for leg in self.legs:
            if leg.start <= time < leg.end:
                return leg
        return None


def _along(leg: Leg, time: int) -> Place:
    share = (time - leg.start) / (leg.end - leg.start)
    return (
        leg.a[0] + (leg.b[0] - leg.a[0]) * share,
        leg.a[1] + (leg.b[1] - leg.a[1]) * share,
    )


class Scene:
    """The yard with its people. Two scenes of the same seed and duration are the same in everything."""

    zones: tuple[Zone, ...] = (DOOR, FENCE)
    lines: tuple[Line, ...] = (GATE,)
    label = "person"

    def __init__(self, *, seed: int = 7, duration_s: float = 60.0) -> None:
        self.seed = seed
        self.duration = round(duration_s * SECOND)
        self.walkers = _cast(seed, max(1, int(duration_s // ACT_S)))

    def at(self, time: int) -> list[Actor]:
        """Everybody in the frame at a presentation time; times past the duration start over."""
        return self.during(time % self.duration)

    def during(self, time: int) -> list[Actor]:
        """Everybody in the frame at a time within the duration, farthest first."""
        seen = (w.at(time) for w in self.walkers if w.enters_at <= time < w.leaves_at)
        return sorted((actor for actor in seen if actor), key=lambda actor: actor.foot[1])

    def rules(self, camera: str) -> list[dict[str, object]]:
        """The rule documents (`camrule/v1`) that belong to this yard, for a camera that shows it."""
        return [
            _rule(camera, "door", "Person at the door", "high", {"enter": {"zone": "door"}}),
            _rule(
                camera,
                "fence",
                "Loitering at the fence",
                "critical",
                {"dwell": {"zone": "fence", "min": "8s"}},
            ),
            _rule(
                camera,
                "gate",
                "Person through the gate",
                "medium",
                {"cross": {"line": "gate", "dir": "L2R"}},
            ),
        ]


def _rule(
    camera: str, name: str, title: str, level: str, match: dict[str, dict[str, str]]
) -> dict[str, object]:
    return {
        "id": f"{camera}-{name}",
        "version": "1.0.0",
        "title": title,
        "status": "stable",
        "level": level,
        "scope": {"cameras": [camera]},
        "match": {verb: {"class": Scene.label, **terms} for verb, terms in match.items()},
        "group_by": ["track"],
        "cooldown": "10s",
    }


def standing_box(x: float, y: float) -> Box:
    """The box of somebody whose feet are at (x, y), cut off at the edges of the frame."""
    high = 0.17 + (y - 0.5) * 0.55
    wide = high * 0.36 * 9 / 16
    left, right = max(0.0, x - wide / 2), min(1.0, x + wide / 2)
    top, bottom = max(0.0, y - high), min(1.0, y)
    return left, top, right - left, bottom - top


class _Step(NamedTuple):
    """Be at `place` this many seconds after the start of the part."""

    after: float
    place: Place


_Part: TypeAlias = Callable[[random.Random], list[_Step]]


def _cast(seed: int, acts: int) -> tuple[Walker, ...]:
    chance = random.Random(seed)  # noqa: S311  # scenery, not secrets
    walkers: list[Walker] = []
    for act in range(acts):
        for part in _act(act % 3):
            start = act * ACT_S + chance.uniform(0.0, 0.6)
            way = part(chance)
            number = len(walkers) + 1
            walkers.append(Walker(f"p{number}", chance.randrange(1 << 16), _legs(start, way)))
    return tuple(walkers)


def _legs(start: float, way: list[_Step]) -> tuple[Leg, ...]:
    times = [round((start + step.after) * SECOND) for step in way]
    return tuple(
        Leg(times[i], times[i + 1], way[i].place, way[i + 1].place) for i in range(len(way) - 1)
    )


def _through_right(chance: random.Random) -> list[_Step]:
    """Through the gate from left to right."""
    y, pace = chance.uniform(0.92, 0.95), chance.uniform(8.0, 9.0)
    return [_Step(0.3, (-0.04, y)), _Step(0.3 + pace, (1.04, y - 0.01))]


def _through_left(chance: random.Random) -> list[_Step]:
    """Through the gate from right to left, when the others have gone."""
    y, pace = chance.uniform(0.93, 0.96), chance.uniform(8.0, 8.8)
    return [_Step(10.2, (1.04, y)), _Step(10.2 + pace, (-0.04, y))]


def _back_left(chance: random.Random) -> list[_Step]:
    """Through the gate from right to left, at the start of an act."""
    return [_Step(step.after - 9.9, step.place) for step in _through_left(chance)]


def _loiter(chance: random.Random) -> list[_Step]:
    """Hang about the fence for longer than the dwell rule allows."""
    return _hang_about(chance, pauses=5)


def _pause(chance: random.Random) -> list[_Step]:
    """Stop at the fence, for shorter than the dwell rule asks."""
    return _hang_about(chance, pauses=1)


def _hang_about(chance: random.Random, pauses: int) -> list[_Step]:
    x, y = chance.uniform(0.79, 0.84), chance.uniform(0.58, 0.61)
    way = [_Step(0.8, (1.04, y)), _Step(3.3, (x, y))]
    for _ in range(pauses):
        last = way[-1]
        beside = (x + chance.uniform(-0.02, 0.02), y + chance.uniform(-0.005, 0.005))
        way += [_Step(last.after + 1.5, last.place), _Step(last.after + 2.2, beside)]
    return [*way, _Step(way[-1].after + 2.6, (1.04, y))]


def _visit(chance: random.Random) -> list[_Step]:
    """Come from the left, wait before the door, go in."""
    x, y = chance.uniform(0.19, 0.23), chance.uniform(0.59, 0.62)
    return [
        _Step(8.0, (-0.04, y)),
        _Step(11.0, (x, y)),
        _Step(12.5, (x, y)),
        _Step(14.0, (0.21, 0.49)),
        _Step(14.8, (0.21, 0.485)),
    ]


def _look_around(chance: random.Random) -> list[_Step]:
    """Come from the left, look at the door from afar, turn back."""
    x, y = chance.uniform(0.24, 0.30), chance.uniform(0.75, 0.77)
    return [
        _Step(8.0, (-0.04, y)),
        _Step(10.8, (x, y)),
        _Step(12.3, (x, y)),
        _Step(15.1, (-0.04, y)),
    ]


def _act(number: int) -> tuple[_Part, ...]:
    return (
        (_through_right, _loiter, _visit, _through_left),
        (_back_left, _pause, _visit, _through_left),
        (_through_right, _loiter, _look_around, _through_left),
    )[number]
