"""Recall and precision of boxes against MOTChallenge ground truth: matched one to one at IoU 0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import lap
import numpy as np

from shared.vision.boxes import iou, to_ltrb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Boxes: TypeAlias = "Sequence[Sequence[float]]"
"""Rows of left, top, width, height in pixels."""


class Score(NamedTuple):
    """Shares of the objects that were found, and of the finds that are objects."""

    recall: float
    precision: float

    def __str__(self) -> str:
        return f"recall {self.recall:.4f}, precision {self.precision:.4f}"


def score(seen: Mapping[int, Boxes], truth: Path) -> Score:
    """Score what was seen by frame number (from 1) in the frames that the ground truth has."""
    told = ground_truth(truth)
    right = sum(matched(boxes, seen.get(frame, ())) for frame, boxes in told.items())
    objects, finds = sum(map(len, told.values())), sum(map(len, seen.values()))
    return Score(right / objects, right / max(1, finds))


def ground_truth(file: Path) -> dict[int, list[list[float]]]:
    told: dict[int, list[list[float]]] = {}
    for line in file.read_text().splitlines():
        fields = [float(field) for field in line.split(",")]
        told.setdefault(int(fields[0]), []).append(fields[2:6])
    return told


def matched(told: Boxes, seen: Boxes) -> int:
    """How many pairs the assignment with the largest overlaps finds."""
    if not len(told) or not len(seen):
        return 0
    overlap = iou(to_ltrb(_rows(told)), to_ltrb(_rows(seen)))
    costs = np.where(overlap >= 0.5, 1 - overlap, 1e3)
    _, columns, _ = lap.lapjv(costs, extend_cost=True)
    return sum(
        1 for row, column in enumerate(columns) if column >= 0 and overlap[row, column] >= 0.5
    )


def _rows(boxes: Boxes) -> NDArray[np.float64]:
    return np.array(boxes, np.float64).reshape(-1, 4)
