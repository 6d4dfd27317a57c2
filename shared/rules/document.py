"""`camrule/v1` documents: strict reading, the canonical hash, and what a rule means once it is read."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from schemas.events.incident_changes import Severity
from shared.rules.conditions import Condition, parse_condition, positives, questions
from shared.rules.durations import Duration
from shared.rules.errors import Problem, RuleError, check_texts, mapping, problem, refuse
from shared.rules.examples import Example, parse_examples
from shared.rules.parts import Part, check, parts
from shared.rules.reading import read
from shared.rules.scene import Places, parse_places

Status = Literal["draft", "shadow", "test", "stable", "deprecated"]
Field = Literal["track", "zone", "line", "camera", "class"]

T = TypeVar("T")

FORMAT: Literal["camrule/v1"] = "camrule/v1"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a rule is meant: the cameras it names, or every camera that has its zones and lines."""

    cameras: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else is done with an alert: `notify` names a channel."""

    notify: Annotated[str, Meta(min_length=1)]


class Verify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model may do with an incident, once one is configured."""

    policy: Literal["none", "annotate", "demote", "hold"] = "annotate"
    criteria: tuple[str, ...] = ()


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document as it is written; `defs`, `match` and `tests` are read by themselves."""

    id: str
    match: Any
    format: Literal["camrule/v1"] = FORMAT
    version: str = "1.0.0"
    title: Annotated[str, Meta(max_length=200)] = ""
    status: Status = "stable"
    level: Severity = "medium"
    description: str = ""
    author: str = ""
    related: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    scope: Scope = Scope()
    defs: Any = msgspec.field(default_factory=dict)
    group_by: Field | tuple[Field, ...] | None = None
    cooldown: Duration = msgspec.field(default_factory=Duration)
    merge_gap: Duration = msgspec.field(default_factory=Duration)
    actions: tuple[Action, ...] = ()
    verify: Verify = Verify()
    tests: Any = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was read. `hash` is the SHA-256 of the canonical document.

    `parts`: what a rule over several cameras asks of each, by its canonical writing; empty where one camera
    answers alone.
    """

    head: Head
    places: Places
    match: Condition
    group_by: tuple[Field, ...]
    tests: tuple[Example, ...]
    hash: str
    document: Mapping[str, Any]
    parts: Mapping[str, Part] = {}

    @property
    def id(self) -> str:
        """Its stable name."""
        return self.head.id

    @property
    def title(self) -> str:
        """What people read; the id where the document has none."""
        return self.head.title or self.head.id

    @property
    def major(self) -> int:
        """Major version: a new one begins new incidents."""
        return int(self.head.version.split(".", 1)[0])

    def part(self, text: str) -> "Rule":
        """The part of this writing, as a rule that one camera evaluates; its id is the part's key."""
        part = self.parts[text]
        head = msgspec.structs.replace(self.head, id=part.key, scope=Scope())
        return msgspec.structs.replace(self, head=head, match=part.condition, group_by=(), parts={})

    def covers(self, camera: str) -> bool:
        """Say whether the camera is in its scope."""
        cameras = self.head.scope.cameras
        return not cameras or camera in cameras

    def asks(self, camera: str) -> bool:
        """Say whether it is a rule over several cameras that asks this one, where the camera has its places."""
        return self.covers(camera) and any(part.concerns(camera) for part in self.parts.values())


def load(raw: object) -> Rule:
    """A rule from its document (what YAML or JSON gave).

    Raises:
        RuleError: everything that is wrong with it, each with path, value and remedy.
    """
    document = mapping(raw, "$", "a rule")
    check_texts(document)
    head = read(Head, document, "$")
    problems = _head_problems(head)
    places = _collect(problems, lambda: parse_places(head.defs, "$.defs"))
    match = _collect(problems, lambda: parse_condition(head.match))
    tests = _collect(problems, lambda: parse_examples(head.tests, "$.tests"))
    group_by = None
    if match is not None:
        group_by = _collect(problems, lambda: _groups(head.group_by, match))
        if any(questions(match)):
            asks = group_by or ()
            _collect(problems, lambda: check(match, head.scope.cameras, asks))
    if problems or places is None or match is None or tests is None or group_by is None:
        raise RuleError(problems)
    return Rule(
        head=head,
        places=places,
        match=match,
        group_by=group_by,
        tests=tests,
        hash=digest(document),
        document=document,
        parts=parts(match, mapping(head.defs, "$.defs", "defs")),
    )


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON (keys sorted, no spaces), in hexadecimal.

    Raises:
        RuleError: the document holds something that JSON has not, e.g. a date.
    """
    return hashlib.sha256(canonical(document)).hexdigest()


def canonical(document: Mapping[str, Any]) -> bytes:
    """The document as canonical JSON.

    Raises:
        RuleError: it holds something that JSON has not.
    """
    odd = _odd(document, "$")
    if odd is not None:
        raise RuleError([odd])
    return msgspec.json.encode(document, order="sorted")


def _head_problems(head: Head) -> list[Problem]:
    problems = []
    if not _ID.fullmatch(head.id):
        problems.append(
            problem(
                "$.id",
                head.id,
                "not a rule id",
                "use letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit",
            )
        )
    if not _SEMVER.fullmatch(head.version):
        problems.append(
            problem("$.version", head.version, "not a semantic version", 'write it as "1.2.0"')
        )
    if head.scope.tags:
        problems.append(
            problem(
                "$.scope.tags",
                list(head.scope.tags),
                "tags are not supported yet",
                "list scope.cameras instead",
            )
        )
    return problems


def _groups(given: Field | tuple[Field, ...] | None, match: Condition) -> tuple[Field, ...]:
    """What incidents are grouped by: as written, else by track where the match is about one."""
    asked = list(match.asked())
    across = any(questions(match))
    of_track = not across and any(one.predicate.about == "track" for one in asked)
    if given is None and across:
        return ()
    if given is None:
        zones = any(getattr(one.predicate, "zone", None) for one in asked)
        return ("track",) if of_track else ("zone",) if zones else ("camera",)
    groups = (given,) if isinstance(given, str) else given
    if not groups:
        raise refuse("$.group_by", [], "groups by nothing", "leave it out, or write [camera]")
    if "track" in groups and not (of_track or across):
        raise refuse(
            "$.group_by",
            list(groups),
            "the match is not about one track",
            "group by zone or camera",
        )
    for field in ("zone", "line"):
        named = any(getattr(one.predicate, field, None) for one in positives(match))
        if field in groups and not named:
            raise refuse(
                "$.group_by",
                list(groups),
                f"the match names no {field}",
                f"leave {field} out",
            )
    return groups


def _collect(problems: list[Problem], parse: Callable[[], T]) -> T | None:
    try:
        return parse()
    except RuleError as error:
        problems.extend(error.problems)
        return None


def _odd(value: object, path: str) -> Problem | None:
    """The first value that JSON has not."""
    if value is None or isinstance(value, str | bool | int):
        return None
    if isinstance(value, float):
        if value == value and abs(value) != float("inf"):
            return None
        return problem(path, value, "not a number", "write a finite number")
    if isinstance(value, Mapping):
        found = (_odd(inner, f"{path}.{name}") for name, inner in value.items())
    elif isinstance(value, list | tuple):
        found = (_odd(inner, f"{path}[{i}]") for i, inner in enumerate(value))
    else:
        return problem(path, value, "not text, number, list or mapping", "put it in quotes")
    return next((one for one in found if one is not None), None)
