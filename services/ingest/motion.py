"""Where a picture differs from what the camera usually sees.

A running average of the small grey picture is the background; what differs from it is gathered in cells, and cells
that touch make a region. Pictures alone decide: the same pictures at the same offsets give the same regions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from services.ingest.masks import covered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from schemas.event import Box
    from services.ingest.masks import Points

    Cells: TypeAlias = set[tuple[int, int]]

SMALL = 160
"""The small picture is about this wide."""
CELL = 6
CHANGED = 16.0
"""Grey levels (of 255) by which a pixel differs from the background to count as changed."""
CELL_CHANGED = 4
"""Changed pixels that make a cell count."""
REGION_CHANGED = 12
"""Changed pixels that make a region count."""
LIGHTNING = 0.6
"""When more of the picture than this changes at once the light did, not the scene."""
LEARN_S, ABSORB_S = 2.0, 20.0
"""How fast the background follows where nothing changes, and where something does."""
MOST_REGIONS = 8


class Motion:
    """The background of one stream of pictures of one size. `ignored`: polygons in which nothing counts."""

    def __init__(self, width: int, height: int, ignored: Iterable[Points] = ()) -> None:
        self._size = (width, height)
        self._step = max(1, round(width / SMALL))
        self._small = (height // self._step, width // self._step)
        self._background: NDArray[np.float32] | None = None
        self._at = 0
        self._counts = np.ones(self._small, dtype=bool)
        for points in ignored:
            self._counts &= ~covered(points, self._small[1], self._small[0])

    def update(self, picture: NDArray[np.uint8], offset: int) -> tuple[Box, ...]:
        """The regions that moved, in pixels, largest first; none for the first picture and when the light changes.

        picture: uint8 BGR of the size given, masks burned in. offset: microseconds, growing.
        """
        grey = self._shrink(picture)
        if self._background is None:
            self._background, self._at = grey, offset
            return ()
        seconds = max(0.0, (offset - self._at) / 1_000_000)
        self._at = offset
        away = grey - self._background
        if (np.abs(away) > CHANGED).mean() > LIGHTNING:
            self._background = grey
            return ()
        # Dusk and clouds move the whole picture a little; they are no motion.
        away -= np.float32(np.median(away))
        changed = (np.abs(away) > CHANGED) & self._counts
        self._learn(grey, changed, seconds)
        return self._regions(changed)

    def _shrink(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Four samples of the green channel for each small pixel."""
        step, (rows, columns) = self._step, self._small
        green = picture[: rows * step, : columns * step, 1]
        half = step // 2
        total = green[::step, ::step].astype(np.float32)
        for y, x in ((0, half), (half, 0), (half, half)):
            total += green[y::step, x::step]
        return total / np.float32(4)

    def _learn(self, grey: NDArray[np.float32], changed: NDArray[np.bool_], seconds: float) -> None:
        if self._background is None:
            return
        calm, busy = (np.float32(1 - math.exp(-seconds / span)) for span in (LEARN_S, ABSORB_S))
        self._background = self._background + (grey - self._background) * np.where(
            changed, busy, calm
        )

    def _regions(self, changed: NDArray[np.bool_]) -> tuple[Box, ...]:
        rows, columns = (-(-side // CELL) for side in changed.shape)
        padded = np.zeros((rows * CELL, columns * CELL), dtype=np.int32)
        padded[: changed.shape[0], : changed.shape[1]] = changed
        counts = padded.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3))
        active = {(int(y), int(x)) for y, x in np.argwhere(counts >= CELL_CHANGED)}
        groups = [group for group in _groups(active) if _weight(group, counts) >= REGION_CHANGED]
        groups.sort(key=lambda group: (-_weight(group, counts), min(group)))
        if len(groups) > MOST_REGIONS:
            groups[MOST_REGIONS - 1 :] = [set().union(*groups[MOST_REGIONS - 1 :])]
        return tuple(self._box(group) for group in groups)

    def _box(self, cells: Cells) -> Box:
        """The bounding box of cells and one cell around them, in pixels of the picture."""
        side = CELL * self._step
        width, height = self._size
        left, top = min(x for _, x in cells) - 1, min(y for y, _ in cells) - 1
        right, bottom = max(x for _, x in cells) + 2, max(y for y, _ in cells) + 2
        x0, y0 = max(0, left * side), max(0, top * side)
        return (
            float(x0),
            float(y0),
            float(min(width, right * side) - x0),
            float(min(height, bottom * side) - y0),
        )


def _groups(active: Cells) -> Iterator[Cells]:
    """Cells that touch, diagonally too."""
    left = set(active)
    while left:
        group: Cells = set()
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            group.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        yield group


def _weight(cells: Cells, counts: NDArray[np.int32]) -> int:
    return sum(int(counts[cell]) for cell in cells)
