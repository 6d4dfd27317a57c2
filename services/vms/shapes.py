"""Shapes as they are written on a command line: `name=x,y;x,y;x,y`."""

from __future__ import annotations

import math
from typing import Any

from shared.errors import Invalid


def polygon(text: str, option: str) -> dict[str, Any]:
    """A zone or mask as the API takes it.

    Raises:
        Invalid: it cannot be read; names the option and shows the form.
    """
    name, points = _parsed(text, option)
    if len(points) < 3:
        raise _unreadable(text, option, "it needs three points or more")
    return {"name": name, "points": points}


def line(text: str, option: str) -> dict[str, Any]:
    """A line as the API takes it.

    Raises:
        Invalid: it cannot be read; names the option and shows the form.
    """
    name, points = _parsed(text, option)
    if len(points) != 2:
        raise _unreadable(text, option, "it needs two points")
    return {"name": name, "a": points[0], "b": points[1]}


def _parsed(text: str, option: str) -> tuple[str, list[list[float]]]:
    name, equals, corners = text.partition("=")
    if not equals or not name.strip():
        raise _unreadable(text, option, "it has no name")
    try:
        points = [[float(part) for part in corner.split(",")] for corner in corners.split(";")]
    except ValueError:
        raise _unreadable(text, option, "a coordinate is no number") from None
    if any(len(point) != 2 for point in points):
        raise _unreadable(text, option, "a point is x,y")
    if not all(math.isfinite(part) for point in points for part in point):
        raise _unreadable(text, option, "a coordinate is no finite number")
    return name.strip(), points


def _unreadable(text: str, option: str, why: str) -> Invalid:
    return Invalid(
        f"{option}: {text[:80]!r}: {why}; write it as yard=0.1,0.5;0.9,0.5;0.9,1 in fractions of the frame",
        field=option,
    )
