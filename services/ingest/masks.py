"""Masks of a camera: polygons that are burned in, and polygons in which motion does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Points: TypeAlias = "Sequence[tuple[float, float]]"


class _Patch(NamedTuple):
    rows: slice
    columns: slice
    covered: NDArray[np.bool_]


class Masks:
    """Polygons (fractions of the frame) worked out for one frame size. A touched pixel is a covered pixel."""

    def __init__(self, polygons: Iterable[Points], width: int, height: int) -> None:
        self._patches = [_patch(points, width, height) for points in polygons]

    def burn(self, picture: NDArray[np.uint8]) -> None:
        """Blacken the covered pixels of a picture of shape (height, width) or (height, width, 3), in place."""
        for patch in self._patches:
            picture[patch.rows, patch.columns][patch.covered] = 0


def covered(points: Points, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels a polygon covers or touches: bool array of shape (height, width)."""
    mask = np.zeros((height, width), dtype=bool)
    patch = _patch(points, width, height)
    mask[patch.rows, patch.columns] = patch.covered
    return mask


def _patch(points: Points, width: int, height: int) -> _Patch:
    """The polygon's bounding box and the pixels in it that it covers (even-odd) or whose centre is near its edge."""
    corners = np.asarray(points, dtype=float) * (width, height)
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, (width, height))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    inside = np.zeros(x.shape, dtype=bool)
    near = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        dx, dy = bx - ax, by - ay
        if dy:
            inside ^= ((ay <= y) != (by <= y)) & (x < ax + dx * (y - ay) / dy)
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        near |= np.hypot(x - ax - along * dx, y - ay - along * dy) <= 0.75
    rows, columns = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    return _Patch(rows, columns, inside | near)
