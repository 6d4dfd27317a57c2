"""Plane geometry: tables of cases and an independent oracle in exact fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.vision.polygons import (
    Point,
    Polygon,
    PreparedPolygon,
    area,
    crosses,
    is_simple,
    side,
)

SQUARE: Polygon = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
NOTCHED: Polygon = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0))
BOW_TIE: Polygon = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.5))
PENTAGRAM: Polygon = ((0.5, 0.0), (0.8, 1.0), (0.0, 0.4), (1.0, 0.4), (0.2, 1.0))


@pytest.mark.parametrize(
    ("polygon", "x", "y", "inside"),
    [
        (SQUARE, 0.5, 0.5, True),
        (SQUARE, 0.1, 0.5, False),
        (SQUARE, 0.9, 0.5, False),
        (SQUARE, 0.5, 0.1, False),
        (SQUARE, 0.5, 0.9, False),
        (SQUARE, 0.2, 0.2, True),
        (SQUARE, 0.8, 0.8, True),
        (SQUARE, 0.2, 0.5, True),
        (SQUARE, 0.5, 0.8, True),
        (SQUARE, 0.2, 0.1, False),
        (SQUARE, 0.8 + 1e-6, 0.8, False),
        (NOTCHED, 0.5, 0.5, True),
        (NOTCHED, 0.5, 0.7, False),
        (NOTCHED, 0.25, 0.75, True),
        (NOTCHED, 0.1, 0.85, True),
        (NOTCHED, 0.3, 0.85, False),
        (PENTAGRAM, 0.5, 0.6, False),  # wound around twice: outside by the even-odd rule
        (PENTAGRAM, 0.5, 0.2, True),
    ],
)
def test_contains_by_the_even_odd_rule_with_the_boundary_inside(
    polygon: Polygon, x: float, y: float, inside: bool
) -> None:
    assert PreparedPolygon(polygon).contains(x, y) is inside
    assert PreparedPolygon(polygon[::-1]).contains(x, y) is inside


@pytest.mark.parametrize(("width", "height"), [(768, 576), (640, 360), (1920, 1080), (1242, 375)])
def test_a_sloped_edge_between_pixels_is_inside_after_normalising(width: int, height: int) -> None:
    triangle = ((10 / width, 20 / height), (70 / width, 140 / height), (10 / width, 140 / height))
    assert all(
        PreparedPolygon(triangle).contains((10 + n) / width, (20 + 2 * n) / height)
        for n in range(61)
    )


coordinates = st.integers(0, 40).map(lambda n: n / 40)
points = st.tuples(coordinates, coordinates)
outlines = st.lists(points, min_size=3, max_size=9).map(tuple)


@given(outlines, points)
def test_contains_agrees_with_exact_fractions(polygon: Polygon, point: Point) -> None:
    assume(area(polygon) > 0)
    assert PreparedPolygon(polygon).contains(*point) is _contains_exactly(polygon, point)


def _contains_exactly(polygon: Polygon, point: Point) -> bool:
    """Crossing number in rational arithmetic on the 1/40 grid."""
    x, y = _exact(point)
    inside = False
    for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        (ax, ay), (bx, by) = _exact(a), _exact(b)
        cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if cross == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return True
        if (ay > y) != (by > y) and x < ax + (bx - ax) * (y - ay) / (by - ay):
            inside = not inside
    return inside


def _exact(point: Point) -> tuple[Fraction, Fraction]:
    return Fraction(round(point[0] * 40), 40), Fraction(round(point[1] * 40), 40)


@pytest.mark.parametrize(
    ("polygon", "x", "y", "margin"),
    [
        (SQUARE, 0.5, 0.5, 0.5),
        (SQUARE, 0.3, 0.5, 1 / 6),
        (SQUARE, 0.2, 0.5, 0.0),
        (SQUARE, 0.1, 0.5, -1 / 6),
        (SQUARE, 0.1, 0.1, -math.hypot(0.1, 0.1) / 0.6),
        (NOTCHED, 0.5, 1.0, -math.sqrt(0.125) / math.sqrt(0.75)),
    ],
)
def test_the_margin_is_the_distance_over_the_root_of_the_area(
    polygon: Polygon, x: float, y: float, margin: float
) -> None:
    assert PreparedPolygon(polygon).signed_margin(x, y) == pytest.approx(margin, abs=1e-12)


@given(outlines, points)
def test_the_sign_of_the_margin_is_containment_and_scale_does_not_matter(
    polygon: Polygon, point: Point
) -> None:
    assume(area(polygon) > 1e-6)
    prepared = PreparedPolygon(polygon)
    margin = prepared.signed_margin(*point)
    assert (margin >= 0) is prepared.contains(*point) or abs(margin) < 1e-6
    larger = tuple((x * 640, y * 640) for x, y in polygon)
    assert PreparedPolygon(larger).signed_margin(point[0] * 640, point[1] * 640) == pytest.approx(
        margin, abs=1e-9
    )


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        (SQUARE, 0.36),
        (NOTCHED, 0.75),
        (((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), 0.5),
        (((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)), 0.0),
    ],
)
def test_area(polygon: Polygon, expected: float) -> None:
    assert area(polygon) == pytest.approx(expected)
    assert area(polygon[::-1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("polygon", "simple"),
    [
        (SQUARE, True),
        (NOTCHED, True),
        (((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), True),
        (((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 1.0)), True),  # a point on a straight edge
        (BOW_TIE, False),
        (PENTAGRAM, False),
        (((0.0, 0.0), (1.0, 0.0)), False),
        (((0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0)), False),  # a doubled point
        (((0.0, 0.0), (1.0, 0.0), (0.4, 0.0), (0.0, 1.0)), False),  # folds back
        (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.0, 1.0)), False),  # touches
        (((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)), False),
    ],
)
def test_is_simple(polygon: Polygon, simple: bool) -> None:
    assert is_simple(polygon) is simple
    assert is_simple(polygon[::-1]) is simple
    assert is_simple(polygon[1:] + polygon[:1]) is simple


@pytest.mark.parametrize(
    ("a", "b", "p", "sign"),
    [
        ((0.0, 0.5), (1.0, 0.5), (0.5, 0.7), 1),  # walking right, below is to the right
        ((0.0, 0.5), (1.0, 0.5), (0.5, 0.3), -1),
        ((0.0, 0.5), (1.0, 0.5), (2.0, 0.5), 0),
        ((1.0, 0.5), (0.0, 0.5), (0.5, 0.7), -1),
        ((0.5, 0.0), (0.5, 1.0), (0.2, 0.5), 1),
    ],
)
def test_side_is_right_for_who_walks_from_a_to_b(a: Point, b: Point, p: Point, sign: int) -> None:
    assert side(a, b, p) == sign
    assert side(b, a, p) == -sign


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ((0.5, 0.3), (0.5, 0.7), True),
        ((0.5, 0.7), (0.5, 0.3), True),
        ((0.5, 0.3), (0.5, 0.5), False),  # ends on the line
        ((0.5, 0.5), (0.5, 0.7), False),
        ((0.2, 0.3), (0.2, 0.7), False),  # runs through an end of the line
        ((0.1, 0.3), (0.1, 0.7), False),  # passes beside it
        ((0.3, 0.5), (0.6, 0.5), False),  # runs along it
        ((0.5, 0.3), (0.9, 0.4), False),
    ],
)
def test_crosses_is_a_proper_intersection(p: Point, q: Point, expected: bool) -> None:
    assert crosses((0.2, 0.5), (0.8, 0.5), p, q) is expected
    assert crosses(p, q, (0.2, 0.5), (0.8, 0.5)) is expected


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        (((0.0, 0.0), (1.0, 1.0)), "at least 3 points, got 2"),
        (((0.0, 0.0), (math.nan, 0.0), (0.0, 1.0)), "not finite"),
        (((0.0, 0.0), (math.inf, 0.0), (0.0, 1.0)), "not finite"),
        (((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)), "encloses no area"),
    ],
)
def test_an_outline_that_is_none_is_refused(polygon: Polygon, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreparedPolygon(polygon)
