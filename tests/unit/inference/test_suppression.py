"""Suppression equals the greedy algorithm, box by box, and never depends on chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.suppression import MOST, suppress


def greedy(
    boxes: list[tuple[float, ...]], scores: list[float], classes: list[int], limit: float
) -> list[int]:
    """The textbook: take the best, drop what it overlaps, go on."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda each: (-scores[each], each)):
        if all(
            classes[index] != classes[other] or iou(boxes[index], boxes[other]) <= limit
            for other in kept
        ):
            kept.append(index)
    return kept


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0


BOX = st.tuples(*[st.integers(0, 30)] * 4).map(
    lambda sides: (
        float(sides[0]),
        float(sides[1]),
        sides[0] + sides[2] + 1.0,
        sides[1] + sides[3] + 1.0,
    )
)


@given(
    st.lists(st.tuples(BOX, st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 2)), max_size=24),
    st.sampled_from([0.0, 0.3, 0.45, 0.9]),
)
def test_equals_the_textbook(
    rows: list[tuple[tuple[float, ...], float, int]], limit: float
) -> None:
    boxes = [row[0] for row in rows]
    scores, classes = [row[1] for row in rows], [row[2] for row in rows]
    found = suppress(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        limit,
    )
    assert found.tolist() == greedy(boxes, scores, classes, limit)


def test_a_chain_keeps_every_other_box() -> None:
    boxes = np.array([[4 * n, 0, 4 * n + 10, 10] for n in range(40)], np.float32)
    scores = np.linspace(0.9, 0.5, 40, dtype=np.float32)
    stays = suppress(boxes, scores, np.zeros(40, np.int64), 0.3)
    assert stays.tolist() == list(range(0, 40, 2))


def test_boxes_of_two_classes_do_not_hide_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 2, np.float32)
    both = suppress(boxes, np.array([0.5, 0.9], np.float32), np.array([0, 1]), 0.45)
    assert both.tolist() == [1, 0]


def test_only_the_best_are_compared() -> None:
    count = MOST + 50
    boxes = np.array([[20 * n, 0, 20 * n + 10, 10] for n in range(count)], np.float32)
    stays = suppress(
        boxes, np.linspace(0, 1, count, dtype=np.float32), np.zeros(count, np.int64), 0.45
    )
    assert stays.tolist() == list(range(count - 1, count - 1 - MOST, -1))


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int) -> None:
    boxes = np.zeros((count, 4), np.float32)
    stays = suppress(boxes, np.ones(count, np.float32), np.zeros(count, np.int64), 0.5)
    assert stays.tolist() == list(range(count))
