"""Plane geometry of zones and lines: containment, margins, simplicity, sides and crossings.

Coordinates are normalised or pixels; x grows to the right and y downwards, as in images.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Polygon: TypeAlias = tuple[Point, ...]

BOUNDARY = 1e-9
"""A point this close to an edge (in the polygon's own unit) lies on the boundary."""


class PreparedPolygon:
    """A polygon with its edges worked out once, for many cheap questions.

    The polygon is closed by itself (the first point is not repeated). It need not be simple:
    the inside is the even-odd inside.

    Raises:
        ValueError: fewer than three points, a coordinate that is not finite, or no area.
    """

    __slots__ = ("_bounds", "_edges", "_scale", "_spans", "polygon")

    def __init__(self, polygon: Polygon) -> None:
        _require_outline(polygon)
        self.polygon = polygon
        xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
        self._bounds = (
            min(xs) - BOUNDARY,
            min(ys) - BOUNDARY,
            max(xs) + BOUNDARY,
            max(ys) + BOUNDARY,
        )
        self._edges = tuple(_edge(a, b) for a, b in _edges_of(polygon))
        self._spans = tuple(_span(a, b) for a, b in _edges_of(polygon))
        self._scale = 1.0 / math.sqrt(area(polygon))

    def contains(self, x: float, y: float) -> bool:
        """Say whether the point lies inside (even-odd) or on the boundary."""
        left, top, right, bottom = self._bounds
        if not (left <= x <= right and top <= y <= bottom):
            return False
        inside = False
        for ax, ay, bx, by, low, high, slack in self._edges:
            if low <= y <= high:
                cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
                if -slack <= cross <= slack and _within(ax, bx, x):
                    return True
                if (ay > y) != (by > y) and (cross > 0.0) == (by > ay):
                    inside = not inside
        return inside

    def signed_margin(self, x: float, y: float) -> float:
        """Distance to the boundary over the square root of the area; negative outside."""
        nearest = math.inf
        for ax, ay, dx, dy, inverse in self._spans:
            px, py = x - ax, y - ay
            along = (px * dx + py * dy) * inverse
            along = 0.0 if along < 0.0 else 1.0 if along > 1.0 else along
            ex, ey = px - along * dx, py - along * dy
            squared = ex * ex + ey * ey
            if squared < nearest:
                nearest = squared
        margin = math.sqrt(nearest) * self._scale
        return margin if self.contains(x, y) else -margin


def area(polygon: Polygon) -> float:
    """Area enclosed by the polygon (shoelace formula), in squared units, never negative."""
    doubled = math.fsum(ax * by - bx * ay for (ax, ay), (bx, by) in _edges_of(polygon))
    return abs(doubled) / 2.0


def is_simple(polygon: Polygon) -> bool:
    """Say whether the outline neither crosses, touches nor folds back on itself."""
    if len(polygon) < 3 or len(set(polygon)) < len(polygon):
        return False
    edges = list(_edges_of(polygon))
    last = len(edges) - 1
    for first in range(last):
        for second in range(first + 1, last + 1):
            neighbours = second == first + 1 or (first == 0 and second == last)
            if neighbours:
                if _folds_back(edges[first], edges[second]):
                    return False
            elif _meet(*edges[first], *edges[second]):
                return False
    return True


def side(a: Point, b: Point, p: Point) -> int:
    """Side of the line from a to b on which p lies: the sign of (b - a) x (p - a).

    With y downwards +1 is the right-hand side of someone who walks from a to b; 0 is on it.
    """
    cross = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
    return (cross > 0.0) - (cross < 0.0)


def crosses(a: Point, b: Point, p: Point, q: Point) -> bool:
    """Say whether the segments ab and pq intersect properly, in one inner point of both."""
    return side(a, b, p) * side(a, b, q) < 0 and side(p, q, a) * side(p, q, b) < 0


_Segment: TypeAlias = tuple[Point, Point]


def _edges_of(polygon: Polygon) -> Iterable[_Segment]:
    return zip(polygon, polygon[1:] + polygon[:1], strict=True)


def _edge(a: Point, b: Point) -> tuple[float, float, float, float, float, float, float]:
    """Both ends, the y range, and how large a cross product still counts as on the edge."""
    (ax, ay), (bx, by) = a, b
    slack = BOUNDARY * math.hypot(bx - ax, by - ay)
    return ax, ay, bx, by, min(ay, by) - BOUNDARY, max(ay, by) + BOUNDARY, slack


def _span(a: Point, b: Point) -> tuple[float, float, float, float, float]:
    """Start, direction and inverse squared length (0 for an edge without length)."""
    (ax, ay), dx, dy = a, b[0] - a[0], b[1] - a[1]
    squared = dx * dx + dy * dy
    return ax, ay, dx, dy, 1.0 / squared if squared > 0.0 else 0.0


def _within(one: float, other: float, value: float) -> bool:
    low, high = (one, other) if one <= other else (other, one)
    return low - BOUNDARY <= value <= high + BOUNDARY


def _require_outline(polygon: Polygon) -> None:
    if len(polygon) < 3:
        raise ValueError(f"a polygon needs at least 3 points, got {len(polygon)}")
    for point in polygon:
        if not (math.isfinite(point[0]) and math.isfinite(point[1])):
            raise ValueError(f"polygon point {point} is not finite; give two numbers")
    if not area(polygon) > 0.0:
        raise ValueError(f"polygon {polygon} encloses no area; move a point off the line")


def _folds_back(one: _Segment, other: _Segment) -> bool:
    """Say whether two edges with a common end lie on top of each other."""
    (a, b), (c, d) = one, other
    joint, start, end = (b, a, d) if b == c else (a, b, c)
    if side(joint, start, end) != 0:
        return False
    dot = (start[0] - joint[0]) * (end[0] - joint[0]) + (start[1] - joint[1]) * (end[1] - joint[1])
    return dot > 0.0


def _meet(a: Point, b: Point, p: Point, q: Point) -> bool:
    """Say whether two segments share any point, ends included."""
    return crosses(a, b, p, q) or _on(a, b, p) or _on(a, b, q) or _on(p, q, a) or _on(p, q, b)


def _on(a: Point, b: Point, p: Point) -> bool:
    return (
        side(a, b, p) == 0
        and min(a[0], b[0]) <= p[0] <= max(a[0], b[0])
        and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])
    )
