"""What a predicate is, and how its fields become places and classes."""

from typing import Any, ClassVar, Literal, Protocol, Self

import msgspec

from shared.rules.areas import FOOT, Area, parse_anchor
from shared.rules.errors import refuse, unknown_remedy
from shared.rules.leaves import Classes, Leaf
from shared.rules.lines import Course
from shared.rules.reading import read, struct_schema
from shared.rules.scene import Scene

ClassNames = str | tuple[str, ...] | None


class Predicate(Protocol):
    """One operator of the language with its fields. `about`: one track, or the frame as a whole."""

    about: ClassVar[Literal["track", "frame"]]

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """The predicate from what stands under its name.

        Raises:
            RuleError: a field is unknown, missing or wrong.
        """
        ...

    def bind(self, scene: Scene, path: str) -> Leaf:
        """The question it asks on one camera.

        Raises:
            RuleError: the camera lacks the place it names.
        """
        ...

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """JSON Schema of what stands under its name."""
        ...


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A predicate that is written as a mapping of fields: the struct is the schema."""

    about: ClassVar[Literal["track", "frame"]] = "track"

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """From its fields, strictly."""
        return read(cls, raw, path)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The struct's own."""
        return struct_schema(cls)


def classes(names: ClassNames, path: str) -> Classes:
    """Class names as a set; None where any class is meant.

    Raises:
        RuleError: an empty list or name.
    """
    if names is None:
        return None
    found = (names,) if isinstance(names, str) else names
    if not found or not all(found):
        raise refuse(
            f"{path}.class", names, "no class is named", "name one, e.g. person, or leave class out"
        )
    return frozenset(found)


def area(scene: Scene, zone: str, anchor: str, path: str) -> Area:
    """The zone of this name with its anchor.

    Raises:
        RuleError: no such zone on the camera, or no such anchor.
    """
    checked = parse_anchor(anchor, f"{path}.anchor")
    polygon = scene.zones.get(zone)
    if polygon is None:
        raise refuse(
            f"{path}.zone",
            zone,
            f"camera {scene.camera!r} has no such zone",
            unknown_remedy(zone, sorted(scene.zones)) if scene.zones else "draw it first",
        )
    try:
        return Area(zone, polygon, checked)
    except ValueError as error:
        raise refuse(f"{path}.zone", zone, str(error), "draw the zone again") from error


def course(scene: Scene, line: str, anchor: str, path: str) -> Course:
    """The line of this name with its anchor point.

    Raises:
        RuleError: no such line on the camera, or an anchor that is no point.
    """
    checked = parse_anchor(anchor, f"{path}.anchor")
    if checked.startswith("overlap"):
        raise refuse(f"{path}.anchor", anchor, "a line is crossed by a point", f"use {FOOT}")
    segment = scene.lines.get(line)
    if segment is None:
        raise refuse(
            f"{path}.line",
            line,
            f"camera {scene.camera!r} has no such line",
            unknown_remedy(line, sorted(scene.lines)) if scene.lines else "draw it first",
        )
    if segment[0] == segment[1]:
        raise refuse(f"{path}.line", line, "the line has no length", "draw the line again")
    return Course(line, segment, checked)


def key(name: str, *parts: object) -> str:
    """Canonical writing of a question."""
    return f"{name}({';'.join(_text(part) for part in parts)})"


def _text(part: object) -> str:
    if isinstance(part, frozenset):
        return "|".join(sorted(part))
    return "*" if part is None else str(part)
