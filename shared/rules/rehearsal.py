"""Runs a rule's inline tests: makes the small scene that a test describes and asks the evaluator."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from schemas.event import micros
from shared.rules.document import Rule
from shared.rules.errors import RuleError, refuse
from shared.rules.evaluator import Evaluator
from shared.rules.examples import Example
from shared.rules.scene import Scene, Segment
from shared.rules.schedules import Day
from shared.rules.timeline import fixed
from shared.rules.values import Look, Sighting
from shared.vision.polygons import Point, Polygon, PreparedPolygon

STEP = 100_000
"""Microseconds between two frames of a rehearsal."""
SIDE = 1000
BOX = 2.0
REACH = 0.08
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Track = list[tuple[int, Point]]


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """How a test went. `problem` says why it could not be run."""

    index: int
    expected: bool
    fired: bool
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It ran, and the rule did what the test expects."""
        return not self.problem and self.fired == self.expected


def rehearse(rule: Rule, scene: Scene) -> list[Rehearsed]:
    """Run every test of a rule on a camera's places."""
    return [_run(rule, scene, index, test) for index, test in enumerate(rule.tests)]


def interior(polygon: Polygon) -> Point:
    """A point well inside a polygon: the deepest of a grid over it."""
    prepared = PreparedPolygon(polygon)
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    points = [
        (min(xs) + (max(xs) - min(xs)) * i / 20, min(ys) + (max(ys) - min(ys)) * j / 20)
        for i in range(21)
        for j in range(21)
    ]
    return max(points, key=lambda point: prepared.signed_margin(*point))


def _run(rule: Rule, scene: Scene, index: int, test: Example) -> Rehearsed:
    places = scene.with_places(rule.places)
    try:
        tracks = _tracks(rule, places, test, f"$.tests[{index}]")
    except RuleError as error:
        return Rehearsed(index=index, expected=test.fires, fired=False, problem=str(error))
    evaluator = Evaluator(scene.camera, fixed(scene, [_everywhere(rule)]))
    if evaluator.refused:
        problem = "; ".join(str(one) for found in evaluator.refused.values() for one in found)
        return Rehearsed(index=index, expected=test.fires, fired=False, problem=problem)
    label = test.label or _label(rule)
    start = _start(test, scene.time_zone)
    fired = any(evaluator.update(look).matches for look in _looks(tracks, label, start))
    return Rehearsed(index=index, expected=test.fires, fired=fired)


def _everywhere(rule: Rule) -> Rule:
    """A rehearsal asks whether the rule fires, not on which camera."""
    scope = msgspec.structs.replace(rule.head.scope, cameras=())
    return msgspec.structs.replace(rule, head=msgspec.structs.replace(rule.head, scope=scope))


def _tracks(rule: Rule, places: Scene, test: Example, path: str) -> list[Track]:
    if test.path is not None:
        return [[(int(at), (x, y)) for at, x, y in test.path]]
    if test.cross is not None:
        return [_walk(_line(rule, places, test, path), test.cross)]
    spot = interior(_zone(rule, places, test, path))
    if test.dwell is not None:
        return [[(0, spot), (int(test.dwell), spot)]]
    return [[(0, spot), (int(test.lasting), spot)] for _ in range(test.count or 0)]


def _walk(line: Segment, direction: str) -> Track:
    """Straight across the middle of the line in 2 s, and a second on the other side."""
    (ax, ay), (bx, by) = line
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
    sign = REACH if direction == "L2R" else -REACH
    right = (-(by - ay) / length * sign, (bx - ax) / length * sign)
    middle = ((ax + bx) / 2, (ay + by) / 2)
    near = (middle[0] - right[0], middle[1] - right[1])
    far = (middle[0] + right[0], middle[1] + right[1])
    return [(0, near), (2_000_000, far), (3_000_000, far)]


def _zone(rule: Rule, places: Scene, test: Example, path: str) -> Polygon:
    name = test.zone or next(_named(rule, "zone"), "")
    if name not in places.zones:
        raise refuse(f"{path}.zone", name, "the test needs a zone", "name one that is defined")
    return places.zones[name]


def _line(rule: Rule, places: Scene, test: Example, path: str) -> Segment:
    name = test.line or next(_named(rule, "line"), "")
    if name not in places.lines:
        raise refuse(f"{path}.line", name, "the test needs a line", "name one that is defined")
    return places.lines[name]


def _named(rule: Rule, field: str) -> Iterator[str]:
    for asked in rule.match.asked():
        name = getattr(asked.predicate, field, None)
        if isinstance(name, str) and name:
            yield name


def _label(rule: Rule) -> str:
    for asked in rule.match.asked():
        names = getattr(asked.predicate, "classes", None)
        if names:
            return names if isinstance(names, str) else str(names[0])
    return "person"


def _start(test: Example, time_zone: str) -> int:
    hours, minutes = map(int, test.at.split(":"))
    day = _MONDAY + timedelta(days=_DAYS.index(test.day))
    local = day.replace(hour=hours, minute=minutes, tzinfo=ZoneInfo(time_zone))
    return micros(local)


def _looks(tracks: list[Track], label: str, start: int) -> Iterator[Look]:
    """Frames every 0.1 s, and one at each moment that a track names."""
    last = max((track[-1][0] for track in tracks), default=STEP)
    times = {at for track in tracks for at, _ in track} | set(range(0, last + 1, STEP))
    for at in sorted(times):
        seen = tuple(
            _sighting(number, label, spot, start + track[0][0])
            for number, track in enumerate(tracks, start=1)
            if (spot := _position(track, at)) is not None
        )
        yield Look(at=start + at, size=(SIDE, SIDE), seen=seen, period=STEP)


def _position(track: Track, at: int) -> Point | None:
    """Where the track is at a time, straight between its places; None before and after."""
    if at == track[0][0]:
        return track[0][1]
    for (before, (ax, ay)), (after, (bx, by)) in pairwise(track):
        if before < at <= after:
            share = (at - before) / (after - before)
            return ax + (bx - ax) * share, ay + (by - ay) * share
    return None


def _sighting(number: int, label: str, spot: Point, born_at: int) -> Sighting:
    x, y = spot[0] * SIDE, spot[1] * SIDE
    return Sighting(str(number), label, (x - BOX / 2, y - BOX, BOX, BOX), born_at)
