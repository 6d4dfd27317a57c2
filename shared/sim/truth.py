"""The incidents that a scene's own rules must yield, worked out from the ways of its people alone.

Nothing here uses the tracker, the evaluator or their geometry: it is the independent answer that they are held to.
Ways are looked at every twenty milliseconds; `at` is exact to that step. Where the frame's edge cuts somebody off
their foot point is not where they walk: the places of the yard's rules keep clear of its edges.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from shared.sim.scene import SECOND, Place, Scene, Walker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from schemas.events.camera_configured import Line, Zone

STEP = 20_000
ENTER_AFTER = 400_000
"""Inside for this long counts as entered; the hysteresis of `camrule/v1`."""
LEAVE_AFTER = 1_000_000
DWELL = 8 * SECOND
"""What the dwell rule of `Scene.rules` asks for."""
CROSSED_AFTER = 300_000


class Expected(NamedTuple):
    """One incident that must come: presentation time, in microseconds, at which its rule first holds."""

    rule: str  # the rule's id without the camera: door, fence or gate
    at: int
    actor: str


class Span(NamedTuple):
    """A half-open stretch of presentation time."""

    start: int
    end: int


def truth(scene: Scene) -> list[Expected]:
    """Every incident of one pass through the scene, in the order of time."""
    found: list[Expected] = []
    for walker in scene.walkers:
        way = list(_way(walker, scene.duration))
        found += _expected(walker, way, scene)
    return sorted(found, key=lambda one: (one.at, one.rule))


def calm(scene: Scene) -> list[Span]:
    """When a short outage (a second or two lost, everybody anew afterwards) changes no incident.

    That is: nobody is about to do what a rule asks, or has just begun to.
    """
    busy = sorted(span for walker in scene.walkers for span in _busy(walker, scene))
    spans: list[Span] = []
    free = 0
    for span in busy:
        if span.start > free:
            spans.append(Span(free, span.start))
        free = max(free, span.end)
    if free < scene.duration:
        spans.append(Span(free, scene.duration))
    return spans


class _Spot(NamedTuple):
    time: int
    foot: Place


def _way(walker: Walker, end: int) -> Iterator[_Spot]:
    for time in range(walker.enters_at, min(walker.leaves_at, end), STEP):
        place = walker.place(time)
        if place is not None:
            yield _Spot(time, place)


def _expected(walker: Walker, way: Sequence[_Spot], scene: Scene) -> Iterator[Expected]:
    door, fence = scene.zones
    for stay in _stays(way, door):
        if stay.end - stay.start >= ENTER_AFTER:
            yield Expected("door", stay.start + ENTER_AFTER, walker.id)
    for stay in _stays(way, fence):
        if stay.end - stay.start >= DWELL:
            yield Expected("fence", stay.start + DWELL, walker.id)
    for time in _crossings(way, scene.lines[0]):
        yield Expected("gate", time + CROSSED_AFTER, walker.id)


def _busy(walker: Walker, scene: Scene) -> Iterator[Span]:
    """When an outage would hide or repeat something that this person does."""
    way = list(_way(walker, scene.duration))
    door, fence = scene.zones
    for stay in _stays(way, door):
        yield Span(stay.start - 3 * SECOND, stay.end + 2 * SECOND)
    for stay in _stays(way, fence):
        if stay.end - stay.start >= DWELL:
            # After the match what is left of the stay must be too short for another.
            until = max(stay.start + DWELL, stay.end - DWELL)
            yield Span(stay.start - 3 * SECOND, until + 2 * SECOND)
    for time in _crossings(way, scene.lines[0]):
        yield Span(time - 4 * SECOND, time + 2 * SECOND)


def _stays(way: Sequence[_Spot], zone: Zone) -> Iterator[Span]:
    """Stays in a zone: shorter absences than the hysteresis do not end one."""
    inside = [spot.time for spot in way if _within(zone.points, spot.foot)]
    start = last = None
    for time in inside:
        if start is None or last is None or time - last > LEAVE_AFTER:
            if start is not None and last is not None:
                yield Span(start, last + STEP)
            start = time
        last = time
    if start is not None and last is not None:
        yield Span(start, last + STEP)


def _crossings(way: Sequence[_Spot], line: Line) -> Iterator[int]:
    """When somebody passes the line from its left to its right, looking from a to b on the screen."""
    for before, after in itertools.pairwise(way):
        passes = _left_of(line, before.foot) and not _left_of(line, after.foot)
        if passes and _beside(line, after.foot):
            yield after.time


def _left_of(line: Line, place: Place) -> bool:
    (ax, ay), (bx, by) = line.a, line.b
    return (bx - ax) * (place[1] - ay) < (by - ay) * (place[0] - ax)


def _beside(line: Line, place: Place) -> bool:
    """Between the ends of the line, seen along it."""
    (ax, ay), (bx, by) = line.a, line.b
    along = (place[0] - ax) * (bx - ax) + (place[1] - ay) * (by - ay)
    return 0.0 <= along <= (bx - ax) ** 2 + (by - ay) ** 2


def _within(points: Sequence[Place], place: Place) -> bool:
    """Even-odd rule: a ray to the right meets the outline an odd number of times."""
    x, y = place
    meets = 0
    for (ax, ay), (bx, by) in _sides(points):
        if (ay <= y < by) or (by <= y < ay):
            meets += x < ax + (bx - ax) * (y - ay) / (by - ay)
    return meets % 2 == 1


def _sides(points: Sequence[Place]) -> Iterable[tuple[Place, Place]]:
    return zip(points, [*points[1:], points[0]], strict=True)
