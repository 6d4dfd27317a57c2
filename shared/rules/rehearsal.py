"""Runs a rule's inline tests: makes the small scene that a test describes and asks the evaluator."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from schemas.event import micros
from shared.rules.across.ensemble import Ensemble
from shared.rules.conditions import Asked
from shared.rules.document import Rule
from shared.rules.errors import RuleError, refuse, unknown_remedy
from shared.rules.examples import Act, Example
from shared.rules.scene import Scene, Segment
from shared.rules.schedules import Day
from shared.rules.values import Look, Sighting
from shared.vision.polygons import Point, Polygon, PreparedPolygon

STEP = 100_000
"""Microseconds between two frames of a rehearsal."""
SIDE = 1000
BOX = 2.0
REACH = 0.08
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Steps = list[tuple[int, Point]]


class Track(msgspec.Struct, frozen=True):
    """Who is where at which times; straight in between."""

    label: str
    steps: Steps


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


def rehearse(
    rule: Rule, scene: Scene, others: Mapping[str, Scene] | None = None
) -> list[Rehearsed]:
    """Run every test of a rule on a camera's places; `others`: those of other cameras, where it sees several."""
    scenes = _cast(rule, scene, others or {})
    return [_run(rule, scenes, index, test) for index, test in enumerate(rule.tests)]


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


def _cast(rule: Rule, scene: Scene, others: Mapping[str, Scene]) -> dict[str, Scene]:
    """The cameras of a rehearsal: one, or all that a rule over several asks; one that is not there is bare."""
    if not rule.parts:
        return {scene.camera: scene}
    named = dict.fromkeys(rule.head.scope.cameras)
    for part in rule.parts.values():
        named |= dict.fromkeys(part.cameras)
    of_site = {name: one for name, one in others.items() if one.site == scene.site}
    wanted = list(named) or list(of_site) or [scene.camera]
    bare = Scene(camera=scene.camera, site=scene.site, time_zone=scene.time_zone)
    return {
        name: of_site.get(name) or msgspec.structs.replace(bare, camera=name) for name in wanted
    }


def _run(rule: Rule, scenes: Mapping[str, Scene], index: int, test: Example) -> Rehearsed:
    first = next(iter(scenes.values()))
    try:
        acted = _acted(rule, scenes, test, f"$.tests[{index}]")
    except RuleError as error:
        return Rehearsed(index=index, expected=test.fires, fired=False, problem=str(error))
    ensemble = Ensemble(scenes, [_everywhere(rule)])
    if ensemble.refused:
        problem = "; ".join(str(one) for found in ensemble.refused.values() for one in found)
        return Rehearsed(index=index, expected=test.fires, fired=False, problem=problem)
    start = _start(test, first.time_zone)
    fired = any(ensemble.look(*one) for one in _looks(scenes, acted, start))
    return Rehearsed(index=index, expected=test.fires, fired=fired or bool(ensemble.close()))


def _acted(
    rule: Rule, scenes: Mapping[str, Scene], test: Example, path: str
) -> dict[str, list[Track]]:
    """The tracks of every camera."""
    found: dict[str, list[Track]] = {name: [] for name in scenes}
    for number, act in enumerate(test.acts):
        place = f"{path}.scenes[{number}]" if test.scenes else path
        camera = act.camera or next(iter(scenes))
        if camera not in scenes:
            remedy = unknown_remedy(camera, list(scenes))
            raise refuse(f"{place}.camera", camera, "the rule asks no such camera", remedy)
        spots = _tracks(rule, scenes[camera].with_places(rule.places), act, place)
        label = act.label or _label(rule, camera)
        found[camera] += [Track(label, _later(steps, int(act.after))) for steps in spots]
    return found


def _later(steps: Steps, after: int) -> Steps:
    return [(at + after, spot) for at, spot in steps]


def _everywhere(rule: Rule) -> Rule:
    """A rehearsal asks whether the rule fires, not on which camera."""
    scope = msgspec.structs.replace(rule.head.scope, cameras=())
    return msgspec.structs.replace(rule, head=msgspec.structs.replace(rule.head, scope=scope))


def _tracks(rule: Rule, places: Scene, test: Act, path: str) -> list[Steps]:
    if test.path is not None:
        return [[(int(at), (x, y)) for at, x, y in test.path]]
    if test.cross is not None:
        return [_walk(_line(rule, places, test, path), test.cross)]
    spot = interior(_zone(rule, places, test, path))
    if test.dwell is not None:
        return [[(0, spot), (int(test.dwell), spot)]]
    return [[(0, spot), (int(test.lasting), spot)] for _ in range(test.count or 0)]


def _walk(line: Segment, direction: str) -> Steps:
    """Straight across the middle of the line in 2 s, and a second on the other side."""
    (ax, ay), (bx, by) = line
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
    sign = REACH if direction == "L2R" else -REACH
    right = (-(by - ay) / length * sign, (bx - ax) / length * sign)
    middle = ((ax + bx) / 2, (ay + by) / 2)
    near = (middle[0] - right[0], middle[1] - right[1])
    far = (middle[0] + right[0], middle[1] + right[1])
    return [(0, near), (2_000_000, far), (3_000_000, far)]


def _zone(rule: Rule, places: Scene, test: Act, path: str) -> Polygon:
    name = test.zone or next(_named(rule, "zone", places.camera), "")
    if name not in places.zones:
        raise refuse(f"{path}.zone", name, "the test needs a zone", "name one that is defined")
    return places.zones[name]


def _line(rule: Rule, places: Scene, test: Act, path: str) -> Segment:
    name = test.line or next(_named(rule, "line", places.camera), "")
    if name not in places.lines:
        raise refuse(f"{path}.line", name, "the test needs a line", "name one that is defined")
    return places.lines[name]


def _named(rule: Rule, field: str, camera: str) -> Iterator[str]:
    for asked in _asked(rule, camera):
        name = getattr(asked.predicate, field, None)
        if isinstance(name, str) and name:
            yield name


def _label(rule: Rule, camera: str) -> str:
    for asked in _asked(rule, camera):
        names = getattr(asked.predicate, "classes", None)
        if names:
            return names if isinstance(names, str) else str(names[0])
    return "person"


def _asked(rule: Rule, camera: str) -> Iterator[Asked]:
    """What the camera is asked."""
    if not rule.parts:
        yield from rule.match.asked()
    for part in rule.parts.values():
        if part.concerns(camera):
            yield from part.condition.asked()


def _start(test: Example, time_zone: str) -> int:
    hours, minutes = map(int, test.at.split(":"))
    day = _MONDAY + timedelta(days=_DAYS.index(test.day))
    local = day.replace(hour=hours, minute=minutes, tzinfo=ZoneInfo(time_zone))
    return micros(local)


def _looks(
    scenes: Mapping[str, Scene], acted: Mapping[str, list[Track]], start: int
) -> Iterator[tuple[str, Look]]:
    """Frames of every camera every 0.1 s, and one at each moment that a track names."""
    named = {at for tracks in acted.values() for track in tracks for at, _ in track.steps}
    for at in sorted(named | set(range(0, max(named, default=STEP) + 1, STEP))):
        for camera in scenes:
            seen = tuple(
                _sighting(number, track.label, spot, start + track.steps[0][0])
                for number, track in enumerate(acted[camera], start=1)
                if (spot := _position(track.steps, at)) is not None
            )
            yield camera, Look(at=start + at, size=(SIDE, SIDE), seen=seen, period=STEP)


def _position(track: Steps, at: int) -> Point | None:
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
