"""Boxes as arrays: tables of cases and properties against a pixel-counting oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.vision import boxes
from shared.vision.boxes import FloatArray

Row = tuple[float, float, float, float]


def rows(*values: Row) -> FloatArray:
    return np.array(values, dtype=np.float64).reshape(-1, 4)


def test_conversions_are_inverse() -> None:
    ltwh = rows((10, 20, 30, 40), (0, 0, 0.5, 1))
    assert boxes.to_ltrb(ltwh).tolist() == [[10, 20, 40, 60], [0, 0, 0.5, 1]]
    assert boxes.to_ltwh(boxes.to_ltrb(ltwh)).tolist() == ltwh.tolist()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        ((5, 5, 5, 9), (0, 0, 10, 10), 0.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
        ((8, 8, 2, 2), (0, 0, 10, 10), 0.0),
    ],
)
def test_iou(one: Row, other: Row, expected: float) -> None:
    assert boxes.iou(rows(one), rows(other))[0, 0] == pytest.approx(expected)
    assert boxes.iou(rows(other), rows(one))[0, 0] == pytest.approx(expected)


def test_overlap_of_nothing_is_an_empty_matrix() -> None:
    none, some = rows(), rows((0, 0, 1, 1), (0, 0, 2, 2))
    assert boxes.iou(none, some).shape == (0, 2)
    assert boxes.buffered_iou(some, none, 0.3).shape == (2, 0)


cells = st.integers(0, 12)
pixel_boxes = st.tuples(cells, cells, cells, cells)


@given(pixel_boxes, pixel_boxes)
def test_iou_counts_pixels(one: Row, other: Row) -> None:
    first, second = _pixels(one), _pixels(other)
    whole = len(first | second)
    expected = len(first & second) / whole if first and second else 0.0
    assert boxes.iou(rows(one), rows(other))[0, 0] == pytest.approx(expected)


def _pixels(box: Row) -> set[tuple[int, int]]:
    left, top, right, bottom = (int(value) for value in box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


def test_buffered_iou_sees_neighbours_that_do_not_touch() -> None:
    near, far = rows((0, 0, 10, 20)), rows((12, 0, 22, 20), (40, 0, 50, 20))
    assert boxes.iou(near, far).tolist() == [[0.0, 0.0]]
    overlap = boxes.buffered_iou(near, far, 0.3)
    assert overlap[0, 0] == pytest.approx(4 * 32 / (2 * 16 * 32 - 4 * 32))
    assert overlap[0, 1] == 0.0


def test_union_is_the_box_around_all() -> None:
    assert boxes.union(rows((3, 4, 5, 6), (1, 8, 2, 9))).tolist() == [1, 4, 5, 9]
    with pytest.raises(ValueError, match="at least one"):
        boxes.union(rows())


def test_covered_is_the_best_single_region() -> None:
    target = rows((0, 0, 10, 10), (50, 50, 60, 60), (7, 7, 7, 7))
    regions = rows((0, 0, 6, 10), (5, 0, 20, 10))
    assert boxes.covered(target, regions).tolist() == [0.6, 0.0, 0.0]
    assert boxes.covered(target, rows()).tolist() == [0.0, 0.0, 0.0]
