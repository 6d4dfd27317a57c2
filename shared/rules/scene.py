"""What a camera's rules can name: its zones, lines, schedules and the site's time zone."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.rules.errors import Problem, RuleError, mapping, problem, refuse
from shared.rules.schedules import Schedule
from shared.vision.polygons import Point, Polygon, area, is_simple

Segment = tuple[Point, Point]

_FEWEST, _MOST = 3, 64


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The places of one camera, in fractions of the frame. `version` is the camera document's."""

    camera: str
    site: str = ""
    time_zone: str = "UTC"
    version: int = 0
    zones: dict[str, Polygon] = {}
    lines: dict[str, Segment] = {}
    schedules: dict[str, Schedule] = {}

    def with_places(self, places: "Places") -> "Scene":
        """This scene with a rule's own places added; its own win where a name occurs twice."""
        return msgspec.structs.replace(
            self,
            zones={**self.zones, **places.zones},
            lines={**self.lines, **places.lines},
            schedules={**self.schedules, **places.schedules},
        )


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The `defs` of a rule document."""

    zones: dict[str, Polygon] = {}
    lines: dict[str, Segment] = {}
    schedules: dict[str, Schedule] = {}


def parse_places(raw: object, path: str) -> Places:
    """`defs` of a document: `zones`, `lines` and `schedules` by name.

    Raises:
        RuleError: a shape that is none: too few points, outside the frame, crossing itself, no length.
    """
    defs = mapping(raw, path, "defs")
    for name in defs:
        if name not in ("zones", "lines", "schedules"):
            raise refuse(
                f"{path}.{name}",
                defs[name],
                "there is no such field",
                "use one of zones, lines, schedules",
            )
    problems: list[Problem] = []
    zones = {
        name: parse_zone(points, f"{path}.zones.{name}", problems)
        for name, points in _named(defs, "zones", path).items()
    }
    lines = {
        name: parse_line(points, f"{path}.lines.{name}", problems)
        for name, points in _named(defs, "lines", path).items()
    }
    if problems:
        raise RuleError(problems)
    schedules = {
        name: Schedule.parse(value, f"{path}.schedules.{name}")
        for name, value in _named(defs, "schedules", path).items()
    }
    return Places(zones=zones, lines=lines, schedules=schedules)


def parse_zone(raw: object, path: str, problems: list[Problem]) -> Polygon:
    """A polygon of 3 to 64 points within the frame that does not cross itself; adds what is wrong to `problems`."""
    points = _points(raw, path, problems)
    if points is None:
        return ()
    if len(points) > 3 and points[0] == points[-1]:
        points = points[:-1]  # the outline is closed by itself; many tools repeat the first point
    if not _FEWEST <= len(points) <= _MOST:
        problems.append(
            problem(
                path,
                f"{len(points)} points",
                "a zone has the wrong number of points",
                "give 3 to 64",
            )
        )
    elif not is_simple(points):
        problems.append(
            problem(path, raw, "the zone's outline crosses or touches itself", "reorder its points")
        )
    elif not area(points) > 0.0:
        problems.append(
            problem(path, raw, "the zone encloses no area", "move a point off the line")
        )
    return points


def parse_line(raw: object, path: str, problems: list[Problem]) -> Segment:
    """A line from its first point to its second, both within the frame; adds what is wrong to `problems`."""
    nothing = ((0.0, 0.0), (0.0, 0.0))
    points = _points(raw, path, problems)
    if points is None:
        return nothing
    if len(points) != 2 or points[0] == points[1]:
        problems.append(
            problem(
                path, raw, "a line needs two different points", "write it as [[x1, y1], [x2, y2]]"
            )
        )
        return nothing
    return points[0], points[1]


def _points(raw: object, path: str, problems: list[Problem]) -> Polygon | None:
    try:
        points = msgspec.convert(raw, tuple[tuple[float, float], ...], strict=True)
    except msgspec.ValidationError:
        problems.append(
            problem(
                path, raw, "points must be a list of [x, y] numbers", "write [[0.1, 0.2], [0.5, …]]"
            )
        )
        return None
    for index, (x, y) in enumerate(points):
        if not (math.isfinite(x) and math.isfinite(y) and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            problems.append(
                problem(
                    f"{path}[{index}]",
                    [x, y],
                    "the point leaves the frame",
                    "use fractions of the frame from 0 to 1: x / width, y / height",
                )
            )
            return None
    return points


def _named(defs: Mapping[str, Any], field: str, path: str) -> Mapping[str, Any]:
    return mapping(defs.get(field) or {}, f"{path}.{field}", field)
