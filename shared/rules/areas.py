"""Where a track is asked for: a zone's polygon, and the part of the track that must be in it."""

import re

from schemas.event import Box
from shared.rules.errors import refuse
from shared.vision.polygons import Point, Polygon, PreparedPolygon, area

_OVERLAP = re.compile(r"overlap>=(0?\.\d+|1(?:\.0+)?|0\.\d+)")

FOOT, CENTRE = "foot", "centre"


class Area:
    """A zone with its anchor: `foot` (bottom centre), `centre`, or `overlap>=x` (share of the box in the zone).

    Raises:
        ValueError: the polygon encloses nothing.
    """

    __slots__ = ("anchor", "bounds", "edges", "key", "name", "prepared", "share")

    def __init__(self, name: str, polygon: Polygon, anchor: str) -> None:
        self.name = name
        self.anchor = anchor
        self.prepared = PreparedPolygon(polygon)
        xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
        self.bounds = min(xs), min(ys), max(xs), max(ys)
        self.edges = tuple(zip(polygon, polygon[1:] + polygon[:1], strict=True))
        self.share = 0.0 if anchor in (FOOT, CENTRE) else float(anchor.removeprefix("overlap>="))
        outline = ",".join(f"{x!r} {y!r}" for x, y in polygon)
        self.key = f"{name}@{anchor}:{outline}"

    def covers(self, box: Box) -> bool:
        """Say whether at least the asked share of the box (fractions of the frame) lies in the zone."""
        return overlap(self.prepared.polygon, box) >= self.share

    def depth(self, x: float, y: float, box: Box) -> float:
        """How far inside: distance to the boundary over the square root of the area, or the share to spare."""
        if self.anchor in (FOOT, CENTRE):
            return self.prepared.signed_margin(x, y)
        return overlap(self.prepared.polygon, box) - self.share


def parse_anchor(text: str, path: str) -> str:
    """The anchor as written, checked.

    Raises:
        RuleError: it is none.
    """
    compact = text.replace(" ", "")
    if compact in (FOOT, CENTRE):
        return compact
    match = _OVERLAP.fullmatch(compact)
    if match is None or not float(match[1]) > 0.0:
        raise refuse(path, text, "there is no such anchor", "use foot, centre or overlap>=0.5")
    return f"overlap>={float(match[1])!r}"


def overlap(polygon: Polygon, box: Box) -> float:
    """Share of the box's area that lies in the polygon, 0..1 (Sutherland-Hodgman clip against the box)."""
    left, top, width, height = box
    if width <= 0.0 or height <= 0.0:
        return 0.0
    clipped = list(polygon)
    for axis, bound, keep in (
        (0, left, 1),
        (0, left + width, -1),
        (1, top, 1),
        (1, top + height, -1),
    ):
        clipped = _clip(clipped, axis, bound, keep)
        if len(clipped) < 3:
            return 0.0
    return area(tuple(clipped)) / (width * height)


def _clip(points: list[Point], axis: int, bound: float, keep: int) -> list[Point]:
    """Points of the outline on one side of an axis-parallel line; `keep` 1 keeps above `bound`, -1 below."""
    out: list[Point] = []
    for one, other in zip(points, points[1:] + points[:1], strict=True):
        here, there = (one[axis] - bound) * keep, (other[axis] - bound) * keep
        if here >= 0.0:
            out.append(one)
        if (here > 0.0 > there) or (here < 0.0 < there):
            t = here / (here - there)
            out.append((one[0] + t * (other[0] - one[0]), one[1] + t * (other[1] - one[1])))
    return out
