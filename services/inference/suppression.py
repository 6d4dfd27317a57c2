"""Non-maximum suppression: of boxes that overlap too much, the best of a class stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.vision.boxes import iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1000
"""Candidates that are compared with each other: the best ones. Their overlaps take a matrix of this side."""


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    limit: float,
) -> NDArray[np.intp]:
    """Indices of the boxes that stay, best first; equal scores stay in the order given.

    Greedy suppression per class: a box goes if a better one of its class that stays overlaps it by more
    than `limit` (intersection over union). `boxes` has the shape (n, 4): left, top, right, bottom.

    The greedy answer is the only fixed point of "a box stays if no better box that stays overlaps it".
    Applying that to all boxes at once reaches it in as many rounds as the longest chain, mostly two or three.
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    if len(order) < 2:
        return order
    ranked, kinds = boxes[order].astype(np.float64), classes[order]
    beats = np.triu(iou(ranked, ranked) > limit, 1)
    beats &= kinds[:, None] == kinds[None, :]
    stays: NDArray[np.bool_] = np.ones(len(order), bool)
    while True:
        again = np.logical_not(beats[stays].any(axis=0))
        if np.array_equal(again, stays):
            return order[stays]
        stays = again
