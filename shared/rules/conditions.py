"""The `match` of a rule: predicates joined by `all`, `any` and `not`."""

from collections.abc import Callable, Iterator

import msgspec

from shared.rules.errors import mapping, refuse, unknown_remedy
from shared.rules.leaves import Leaf
from shared.rules.predicates import PLANNED, PREDICATES
from shared.rules.predicates.port import Fields, Predicate
from shared.rules.questions import (
    Across,
    count_across,
    distinct,
    on_camera,
    refuse_same,
)
from shared.rules.scene import Scene
from shared.rules.truth import Either, Every, Expression, Negation, One

DEEPEST = 8
MOST = 64


class Asked(msgspec.Struct, frozen=True):
    """One predicate, and where it stands in the document."""

    name: str
    predicate: Predicate
    path: str

    def expression(self, number: Callable[[Leaf], int], scene: Scene) -> Expression:
        """A leaf with the number of its question."""
        return One(number(self.predicate.bind(scene, self.path)))

    def asked(self) -> Iterator["Asked"]:
        """Itself."""
        yield self


class Joined(msgspec.Struct, frozen=True):
    """`all` or `any` of some conditions."""

    every: bool
    parts: tuple["Condition", ...]

    def expression(self, number: Callable[[Leaf], int], scene: Scene) -> Expression:
        """Min or max of the parts."""
        parts = tuple(part.expression(number, scene) for part in self.parts)
        return Every(parts) if self.every else Either(parts)

    def asked(self) -> Iterator[Asked]:
        """Those of the parts."""
        for part in self.parts:
            yield from part.asked()


class Negated(msgspec.Struct, frozen=True):
    """`not` a condition."""

    part: "Condition"

    def expression(self, number: Callable[[Leaf], int], scene: Scene) -> Expression:
        """The opposite of the part."""
        return Negation(self.part.expression(number, scene))

    def asked(self) -> Iterator[Asked]:
        """Those of the part."""
        return self.part.asked()


Condition = Asked | Joined | Negated | Across


def parse_condition(
    raw: object, path: str = "$.match", depth: int = 0, *, across: bool = True
) -> Condition:
    """A condition: a mapping with exactly one operator. `across`: it may ask several cameras.

    Raises:
        RuleError: no operator, several, an unknown or unsupported one, or one whose fields do not fit.
    """
    fields = mapping(raw, path, "a condition")
    if depth > DEEPEST:
        raise refuse(path, "…", "conditions are nested too deep", f"at most {DEEPEST} levels")
    if len(fields) != 1:
        raise refuse(
            path,
            list(fields),
            "a condition has exactly one operator",
            "join several with `all: [...]` or `any: [...]`",
        )
    (name, value), *_ = fields.items()
    inner = f"{path}.{name}"
    if name in ("all", "any"):
        return _joined(name, value, inner, (depth, across))
    if name == "not":
        return Negated(parse_condition(value, inner, depth + 1, across=across))
    return _over_cameras(name, value, inner, (depth, across)) or _asked(name, value, inner)


def positives(condition: Condition) -> Iterator[Asked]:
    """The predicates that speak for the condition: those not under a `not`."""
    if isinstance(condition, Asked):
        yield condition
    elif isinstance(condition, Across):
        yield from positives(condition.condition)
    elif isinstance(condition, Joined):
        for part in condition.parts:
            yield from positives(part)


def questions(condition: Condition) -> Iterator[Across]:
    """What a condition asks over cameras."""
    if isinstance(condition, Across):
        yield condition
    elif isinstance(condition, Negated):
        yield from questions(condition.part)
    elif isinstance(condition, Joined):
        for part in condition.parts:
            yield from questions(part)


def _joined(name: str, value: object, path: str, where: tuple[int, bool]) -> Joined:
    if not isinstance(value, list | tuple) or not value:
        raise refuse(path, value, f"`{name}` joins a list", f"write {name}: [{{...}}, {{...}}]")
    if len(value) > MOST:
        raise refuse(path, len(value), f"`{name}` joins too many", f"at most {MOST}")
    depth, across = where
    parts = (
        parse_condition(part, f"{path}[{i}]", depth + 1, across=across)
        for i, part in enumerate(value)
    )
    return Joined(name == "all", tuple(parts))


def _over_cameras(name: str, value: object, path: str, where: tuple[int, bool]) -> Across | None:
    """What is asked over cameras; None where one camera answers alone."""
    depth, across = where

    def part(raw: object, inner: str) -> Condition:
        return parse_condition(raw, inner, depth + 1, across=False)

    fields = value if isinstance(value, dict) else {}
    of_track = issubclass(PREDICATES.get(name, object), Fields)
    names_camera = of_track and "camera" in fields
    counts_all = name == "count" and "across" in fields
    if not (name == "distinct" or names_camera or counts_all):
        return None
    if not across:
        raise refuse(
            path, value, "`of` is asked on each camera by itself", "name no cameras within it"
        )
    refuse_same(fields, path)
    if names_camera and counts_all:
        raise refuse(f"{path}.across", fields["across"], "one camera is named", "leave one out")
    if names_camera:
        return on_camera(name, fields, path, part)
    return count_across(fields, path, Asked) if counts_all else distinct(value, path, part)


def _asked(name: str, value: object, path: str) -> Asked:
    if name in PLANNED:
        raise refuse(
            path,
            value,
            f"the operator `{name}` is not supported yet",
            f"this version evaluates {', '.join(PREDICATES)}, distinct, all, any, not",
        )
    predicate = PREDICATES.get(name)
    if predicate is None:
        names = [*PREDICATES, "distinct", "all", "any", "not"]
        raise refuse(path, value, "there is no such operator", unknown_remedy(name, names))
    return Asked(name, predicate.parse(value, path), path)
