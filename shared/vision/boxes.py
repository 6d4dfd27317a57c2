"""Axis-aligned boxes as arrays: conversion, growth, overlap.

Every array is float64 of shape [N, 4] in pixels. `ltrb` rows are left, top, right, bottom;
`ltwh` rows are left, top, width, height. Degenerate boxes have no area and overlap nothing.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]


def to_ltrb(ltwh: FloatArray) -> FloatArray:
    """Left, top, width, height -> left, top, right, bottom."""
    return np.concatenate((ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]), axis=1)


def to_ltwh(ltrb: FloatArray) -> FloatArray:
    """Left, top, right, bottom -> left, top, width, height."""
    return np.concatenate((ltrb[:, :2], ltrb[:, 2:] - ltrb[:, :2]), axis=1)


def areas(ltrb: FloatArray) -> FloatArray:
    """Area of each box, [N]; 0 where right <= left or bottom <= top."""
    extent = np.maximum(ltrb[:, 2:] - ltrb[:, :2], 0.0)
    return extent[:, 0] * extent[:, 1]


def buffered(ltrb: FloatArray, share: float) -> FloatArray:
    """Grow each box on every side by `share` of its own width and height."""
    margin = (ltrb[:, 2:] - ltrb[:, :2]) * share
    return np.concatenate((ltrb[:, :2] - margin, ltrb[:, 2:] + margin), axis=1)


def union(ltrb: FloatArray) -> FloatArray:
    """The smallest box around all boxes, [4].

    Raises:
        ValueError: there is no box.
    """
    if len(ltrb) == 0:
        raise ValueError("the union of no boxes is undefined; give at least one")
    return np.concatenate((ltrb[:, :2].min(axis=0), ltrb[:, 2:].max(axis=0)))


def intersections(one: FloatArray, other: FloatArray) -> FloatArray:
    """Shared area of every pair, [N, M]."""
    wide = np.minimum.outer(one[:, 2], other[:, 2]) - np.maximum.outer(one[:, 0], other[:, 0])
    high = np.minimum.outer(one[:, 3], other[:, 3]) - np.maximum.outer(one[:, 1], other[:, 1])
    shared: FloatArray = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    return shared


def iou(one: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union of every pair, [N, M]; 0 where a box has no area."""
    shared = intersections(one, other)
    whole = np.add.outer(areas(one), areas(other)) - shared
    share: FloatArray = np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0.0)
    return share


def buffered_iou(one: FloatArray, other: FloatArray, share: float) -> FloatArray:
    """IoU of every pair of boxes after both were grown by `share`, [N, M].

    It still tells near from far where plain IoU is zero (Yang et al., "Hard to Track Objects
    with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching
    Space", WACV 2023).
    """
    return iou(buffered(one, share), buffered(other, share))


def covered(ltrb: FloatArray, regions: FloatArray) -> FloatArray:
    """The share of each box that its best single region shows, [N]; 0 for an empty box."""
    if len(regions) == 0:
        return np.zeros(len(ltrb))
    shown: FloatArray = intersections(ltrb, regions).max(axis=1)
    share: FloatArray = np.divide(shown, areas(ltrb), out=np.zeros_like(shown), where=shown > 0.0)
    return share
