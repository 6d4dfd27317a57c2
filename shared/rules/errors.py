"""What is wrong with a rule document: where, with which value, and what to write instead."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from shared.errors import Invalid

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SHOWN = 80


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, e.g. `$.match.dwell.min`, `45`, "write it with a unit: 45s"."""

    path: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} (got {self.value}); {self.remedy}"


class RuleError(Invalid):
    """A rule document cannot be loaded. `problems` lists everything that was found."""

    code = "rule_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)), field=problems[0].path)
        self.problems = tuple(problems)


def problem(path: str, value: object, message: str, remedy: str) -> Problem:
    """A problem with its value shortened for reading."""
    text = repr(value)
    return Problem(path, text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…", message, remedy)


def refuse(path: str, value: object, message: str, remedy: str) -> RuleError:
    """The error for one problem."""
    return RuleError([problem(path, value, message, remedy)])


def translated(
    error: msgspec.ValidationError, raw: object, path: str, fields: Sequence[str]
) -> RuleError:
    """The error of a strict conversion of `raw`, which stands at `path`, said with value and remedy.

    `fields` are the names that the outermost object may have.
    """
    match = _AT.match(str(error))
    what = match["what"] if match else str(error)
    inner = (match["path"] if match else None) or "$"
    value = _value_at(raw, inner)
    unknown = _UNKNOWN.search(what)
    if unknown is not None:
        name = unknown["name"]
        found = value.get(name) if isinstance(value, Mapping) else value
        allowed = fields if inner == "$" else ()
        return refuse(
            f"{path}{inner[1:]}.{name}",
            found,
            "there is no such field",
            unknown_remedy(name, allowed),
        )
    head, _, tail = what.partition("; ")
    return refuse(path + inner[1:], value, head, tail or "write what is expected there")


def unknown_remedy(name: str, allowed: Sequence[str]) -> str:
    """What to write instead of an unknown name."""
    if not allowed:
        return "remove it"
    near = get_close_matches(name, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}use one of {', '.join(allowed)}"


def _value_at(raw: object, path: str) -> object:
    value = raw
    for name, index in _STEP.findall(path):
        if name and isinstance(value, Mapping):
            value = value.get(name)
        elif index.isdigit() and isinstance(value, Sequence) and int(index) < len(value):
            value = value[int(index)]
        else:
            break
    return value


def mapping(raw: object, path: str, what: str) -> Mapping[str, Any]:
    """`raw` as a mapping with text keys, or the error that says what belongs there.

    Raises:
        RuleError: it is something else.
    """
    if not isinstance(raw, Mapping):
        raise refuse(path, raw, f"{what} must be a mapping", "write it as `name: value` lines")
    for key in raw:
        if not isinstance(key, str):
            raise refuse(
                path, key, f"a name in {what} is not text", f"put it in quotes: {str(key)!r}"
            )
    return raw
