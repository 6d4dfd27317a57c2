"""What a rule can ask of several cameras: a condition on a named camera, a count over cameras, distinct things.

Each rests on a *part*: a condition that one camera answers by itself, with the evaluator of one camera.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from schemas.event import CameraId
from shared.rules.areas import FOOT
from shared.rules.durations import Duration
from shared.rules.errors import mapping, refuse
from shared.rules.leaves import Leaf
from shared.rules.predicates.count import Operator
from shared.rules.predicates.port import ClassNames
from shared.rules.presence import Presence
from shared.rules.reading import read, struct_schema
from shared.rules.scene import Scene
from shared.rules.truth import Expression

if TYPE_CHECKING:
    from shared.rules.conditions import Asked, Condition

LONGEST = Duration(24 * 3_600_000_000)
"""A window over several cameras is no longer: what lies in it is kept in memory."""

Value = Literal["track", "camera", "zone", "class"]
Parse = Callable[[object, str], "Condition"]


class Across(msgspec.Struct, frozen=True, kw_only=True):
    """A question over cameras. `text` is the canonical writing of its part, `path` where it stands."""

    name: str
    path: str
    text: str
    condition: "Condition"

    def expression(self, number: Callable[[Leaf], int], scene: Scene) -> Expression:
        """One camera alone cannot answer.

        Raises:
            RuleError: always.
        """
        raise refuse(self.path, self.name, "this is asked over several cameras", "split the rule")

    def asked(self) -> Iterator["Asked"]:
        """What is asked on each camera."""
        return self.condition.asked()

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that it names; empty: those in the rule's scope."""
        return ()

    @property
    def window(self) -> int:
        """How far back it looks, in microseconds."""
        return 0


class OnCamera(Across, frozen=True, kw_only=True):
    """An operator on a named camera: it holds now, or held at a moment within the last `within`."""

    camera: str
    within: int

    @property
    def cameras(self) -> tuple[str, ...]:
        """The one."""
        return (self.camera,)

    @property
    def window(self) -> int:
        """`within`."""
        return self.within


class CountAcross(Across, frozen=True, kw_only=True):
    """How many tracks there are on all cameras together compares as asked, and has for as long as `lasting`."""

    op: Operator
    n: int
    lasting: int


class Distinct(Across, frozen=True, kw_only=True):
    """How many different tracks, cameras, zones or classes `condition` held for within the last `within`."""

    field: Value
    op: Operator
    n: int
    within: int

    @property
    def window(self) -> int:
        """`within`."""
        return self.within


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that put an operator onto a camera."""

    camera: CameraId
    within: Duration = msgspec.field(default_factory=Duration)


class CountFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tracks of all cameras in the scope that have a zone of this name; without a zone, all tracks there are."""

    across: Literal["cameras"]
    op: Operator
    n: Annotated[int, Meta(ge=0, le=10_000)]
    zone: str | None = None
    classes: ClassNames = msgspec.field(name="class", default=None)
    lasting: Duration = msgspec.field(name="for", default_factory=Duration)
    anchor: str = FOOT


class DistinctFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many different values of `field` a condition had on the cameras of the scope, within the last `within`."""

    about: ClassVar[Literal["frame"]] = "frame"

    of: Any
    op: Operator
    n: Annotated[int, Meta(ge=0, le=10_000)]
    within: Duration
    field: Value = "track"


def on_camera(name: str, value: Mapping[str, Any], path: str, parse: Parse) -> OnCamera:
    """An operator with a `camera`, and perhaps `within`.

    Raises:
        RuleError: a field does not fit.
    """
    where = read(Where, {k: v for k, v in value.items() if k in ("camera", "within")}, path)
    _check_window(where.within, f"{path}.within")
    inner = {name: {k: v for k, v in value.items() if k not in ("camera", "within")}}
    return OnCamera(
        name=name,
        path=path,
        text=_text(inner),
        condition=parse(inner, path.removesuffix(f".{name}")),
        camera=where.camera,
        within=where.within,
    )


def count_across(value: Mapping[str, Any], path: str, asked: "type[Asked]") -> CountAcross:
    """A `count` with `across: cameras`.

    Raises:
        RuleError: a field does not fit.
    """
    fields = read(CountFields, value, path)
    _check_window(fields.lasting, f"{path}.for")
    here = Presence(zone=fields.zone, classes=fields.classes, anchor=fields.anchor)
    return CountAcross(
        name="count",
        path=path,
        text=_text({"present": here}),
        condition=asked("present", here, path),
        op=fields.op,
        n=fields.n,
        lasting=fields.lasting,
    )


def distinct(raw: object, path: str, parse: Parse) -> Distinct:
    """A `distinct`.

    Raises:
        RuleError: a field does not fit, or `of` is not about what is counted.
    """
    value = mapping(raw, path, "distinct")
    refuse_same(value, path)
    fields = read(DistinctFields, value, path)
    _check_window(fields.within, f"{path}.within")
    if not fields.within:
        raise refuse(f"{path}.within", "0s", "no time at all", "write e.g. within: 30s")
    of = parse(fields.of, f"{path}.of")
    _check_field(fields.field, of, path)
    return Distinct(
        name="distinct",
        path=path,
        text=_text(fields.of),
        condition=of,
        field=fields.field,
        op=fields.op,
        n=fields.n,
        within=fields.within,
    )


def refuse_same(value: Mapping[str, Any], path: str) -> None:
    """`same` joins steps of a sequence, and there are none yet.

    Raises:
        RuleError: it is there.
    """
    if "same" in value:
        raise refuse(
            f"{path}.same",
            value["same"],
            "`same` is not supported yet",
            "remove it: tracks of different cameras are different tracks",
        )


def camera_schema(operator: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operator's fields with those that put it onto a camera."""
    where = struct_schema(Where)["properties"]
    fields = {**operator["properties"], **where}
    return {**operator, "properties": fields, "dependentRequired": {"within": ["camera"]}}


def count_schema(count: dict[str, Any]) -> dict[str, Any]:
    """The schema of `count`, also over cameras."""
    across = struct_schema(CountFields)["properties"]["across"]
    return {**count, "properties": {**count["properties"], "across": across}}


def distinct_schema(condition: dict[str, Any]) -> dict[str, Any]:
    """The schema of `distinct`; `condition` is that of `of`."""
    fields = struct_schema(DistinctFields)
    return {**fields, "properties": {**fields["properties"], "of": condition}}


def _check_field(field: Value, of: "Condition", path: str) -> None:
    asked = list(of.asked())
    if field in ("track", "class") and not any(one.predicate.about == "track" for one in asked):
        raise refuse(f"{path}.field", field, "`of` is not about one track", "use field: camera")
    if field == "zone" and not any(getattr(one.predicate, "zone", None) for one in asked):
        raise refuse(f"{path}.field", field, "`of` names no zone", "use field: track or camera")


def _check_window(window: int, path: str) -> None:
    if window > LONGEST:
        raise refuse(path, f"{window / 1_000_000:g}s", "the window is too long", "at most 24h")


def _text(part: object) -> str:
    return msgspec.json.encode(part, order="sorted").decode()
