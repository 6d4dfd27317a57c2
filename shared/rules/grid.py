"""Which areas may hold a point, by cells of the frame; each cell is worked out when it is first needed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.rules.areas import Area
from shared.vision.polygons import Point

CELLS = 32
"""Cells along each side of the frame."""
_SLACK = 1e-6
"""A cell reaches this much over its edge, so that rounding never puts a point into the wrong one."""

Contains = Callable[[float, float], bool]


class Cell(NamedTuple):
    """Areas that hold the whole cell, those whose outline passes through it, and the numbers of both."""

    inside: tuple[int, ...]
    doubtful: tuple[tuple[int, Contains], ...]
    known: frozenset[int]


class Grid:
    """Areas of one anchor by cells: answers as asking each area's polygon would, with less work."""

    __slots__ = ("_areas", "_cells", "_outside", "numbers")

    def __init__(self, areas: Sequence[tuple[int, Area]]) -> None:
        self._areas = tuple(areas)
        self.numbers = frozenset(number for number, _ in areas)
        self._cells: dict[int, Cell] = {}
        asked = tuple((number, area.prepared.contains) for number, area in areas)
        self._outside = Cell((), asked, self.numbers)

    def cell(self, x: float, y: float) -> Cell:
        """The cell of a point (fractions of the frame); off the frame every area is asked."""
        if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
            column, row = int(x * CELLS), int(y * CELLS)
            return self._cells.get((row << 8) | column) or self._new(column, row)
        return self._outside

    def _new(self, column: int, row: int) -> Cell:
        found = self._cells[(row << 8) | column] = self._work_out(column, row)
        return found

    def _work_out(self, column: int, row: int) -> Cell:
        left, top = column / CELLS - _SLACK, row / CELLS - _SLACK
        right, bottom = (column + 1) / CELLS + _SLACK, (row + 1) / CELLS + _SLACK
        middle = (left + right) / 2, (top + bottom) / 2
        inside: list[int] = []
        doubtful: list[tuple[int, Contains]] = []
        for number, area in self._areas:
            west, north, east, south = area.bounds
            if right < west or east < left or bottom < north or south < top:
                continue
            if any(_touches(a, b, (left, top, right, bottom)) for a, b in area.edges):
                doubtful.append((number, area.prepared.contains))
            elif area.prepared.contains(*middle):
                inside.append(number)
        known = frozenset(inside) | {number for number, _ in doubtful}
        return Cell(tuple(inside), tuple(doubtful), known)


def _touches(a: Point, b: Point, cell: tuple[float, float, float, float]) -> bool:
    """Say whether the segment meets the rectangle left, top, right, bottom (separating axes)."""
    left, top, right, bottom = cell
    if max(a[0], b[0]) < left or min(a[0], b[0]) > right:
        return False
    if max(a[1], b[1]) < top or min(a[1], b[1]) > bottom:
        return False
    dx, dy = b[0] - a[0], b[1] - a[1]
    sides = [
        dx * (y - a[1]) - dy * (x - a[0])
        for x, y in ((left, top), (right, top), (left, bottom), (right, bottom))
    ]
    return min(sides) <= 0.0 <= max(sides)
