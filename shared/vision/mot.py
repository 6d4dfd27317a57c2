"""MOTChallenge text: detections and tracks as comma-separated rows.

Columns: frame, id, left, top, width, height, confidence, and up to three more that are ignored
(x, y, z). Frames count from 1, and so do pixels: the upper left corner of the picture is (1, 1).
Values in memory count pixels from 0, as everywhere else in Vantage; the shift is made here.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from shared.errors import Invalid

Box: TypeAlias = tuple[float, float, float, float]

LEAST_COLUMNS = 7
MOST_COLUMNS = 10
ORIGIN = 1.0
"""Where the format counts pixels from."""


class Row(msgspec.Struct, frozen=True):
    """One box in one frame."""

    frame: int
    """From 1."""
    id: int
    """-1 where the box belongs to no track, as in files of detections."""
    box: Box
    """Left, top, width, height in pixels from 0."""
    score: float


def parse(text: str, *, name: str) -> list[Row]:
    """Read rows in the order of the file; empty lines are skipped.

    Args:
        text: the file's content.
        name: what to call the file in errors.

    Raises:
        Invalid: a line is malformed; the text names file, line, value and remedy.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            rows.append(_row(line, where=f"{name} line {number}"))
    return rows


def write(rows: Iterable[Row]) -> str:
    """The text of rows, ten columns each, in the order given."""
    return "".join(map(_line, rows))


def _line(row: Row) -> str:
    left, top, width, height = row.box
    place = f"{left + ORIGIN:.3f},{top + ORIGIN:.3f},{width:.3f},{height:.3f}"
    return f"{row.frame},{row.id},{place},{row.score:.6g},-1,-1,-1\n"


def _row(line: str, *, where: str) -> Row:
    cells = line.strip().rstrip(",").split(",")
    if not LEAST_COLUMNS <= len(cells) <= MOST_COLUMNS:
        raise Invalid(
            f"{where}: {len(cells)} columns; MOTChallenge rows have "
            f"frame,id,left,top,width,height,confidence and at most three more",
            field="columns",
        )
    frame = _whole(cells[0], "frame", where)
    if frame < 1:
        raise Invalid(f"{where}: frame {frame}; frames count from 1", field="frame")
    names = ("left", "top", "width", "height", "confidence")
    left, top, width, height, score = (
        _number(cell, column, where) for cell, column in zip(cells[2:7], names, strict=True)
    )
    if width <= 0.0 or height <= 0.0:
        raise Invalid(
            f"{where}: box of {width:g} x {height:g} pixels; width and height are positive",
            field="width",
        )
    box = (left - ORIGIN, top - ORIGIN, width, height)
    return Row(frame=frame, id=_whole(cells[1], "id", where), box=box, score=score)


def _number(cell: str, column: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"{where}: {column} is {cell.strip()!r}; give a number", field=column)
    return value


def _whole(cell: str, column: str, where: str) -> int:
    value = _number(cell, column, where)
    if value != int(value):
        raise Invalid(f"{where}: {column} is {cell.strip()!r}; give a whole number", field=column)
    return int(value)
