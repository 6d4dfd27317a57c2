"""What is wrong with a rule document: where, with which value, and what to write instead."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from unicodedata import category

import msgspec

from shared.errors import Invalid

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SHOWN = 80
_DEEPEST, _MOST = 32, 20_000
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


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
    error: msgspec.ValidationError, raw: object, path: str, kind: type[msgspec.Struct] | None
) -> RuleError:
    """The error of a strict conversion of `raw`, which stands at `path`, said with value and remedy.

    `kind` is what it should have become; its fields and their values are what the remedy offers.
    """
    match = _AT.match(str(error))
    what = match["what"] if match else str(error)
    inner = (match["path"] if match else None) or "$"
    value = _value_at(raw, inner)
    unknown = _UNKNOWN.search(what)
    if unknown is not None:
        name = unknown["name"]
        found = value.get(name) if isinstance(value, Mapping) else value
        allowed = _fields(kind) if inner == "$" else ()
        return refuse(
            f"{path}{inner[1:]}.{name}",
            found,
            "there is no such field",
            unknown_remedy(name, allowed),
        )
    head, _, tail = what.partition("; ")
    remedy = tail or _choice(kind, inner) or "write what is expected there"
    return refuse(path + inner[1:], value, head, remedy)


def unknown_remedy(name: str, allowed: Sequence[str]) -> str:
    """What to write instead of an unknown name."""
    if not allowed:
        return "remove it"
    near = get_close_matches(name, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}use one of {', '.join(allowed)}"


def _fields(kind: type[msgspec.Struct] | None) -> list[str]:
    return [] if kind is None else [one.encode_name for one in msgspec.structs.fields(kind)]


def _choice(kind: type[msgspec.Struct] | None, inner: str) -> str:
    """`use one of …` where the field at this place may have only some values."""
    found: Any = None if kind is None else msgspec.inspect.type_info(kind)
    for name, _ in _STEP.findall(inner):
        if name and isinstance(found, msgspec.inspect.StructType):
            found = next((f.type for f in found.fields if f.encode_name == name), None)
        elif not name:
            arrays = [found, *getattr(found, "types", ())]
            found = next((one.item_type for one in arrays if hasattr(one, "item_type")), None)
    values = _literals(found)
    return f"use one of {', '.join(map(str, values))}" if values else ""


def _literals(found: Any) -> list[object]:  # noqa: ANN401 - msgspec's description of a type
    parts = [found, *getattr(found, "types", ())]
    literals = (one for one in parts if isinstance(one, msgspec.inspect.LiteralType))
    return [value for one in literals for value in one.values]


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


def check_texts(document: object) -> None:
    """Hold that a document is small enough to be read, and that its texts have nothing that nobody sees.

    Raises:
        RuleError: nested deeper than 32, more than 20,000 values (YAML aliases multiply), or a character that is a control, a direction mark, zero-width, or none.
    """
    waiting: list[tuple[str, int, object]] = [("$", 0, document)]
    seen = 0
    while waiting:
        path, depth, value = waiting.pop()
        seen += 1
        if seen > _MOST:
            raise refuse("$", "", f"it has more than {_MOST} values", "write several rules")
        if depth > _DEEPEST:
            raise refuse(
                "$", path[:_SHOWN], "it is nested too deeply", f"at most {_DEEPEST} levels"
            )
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, Mapping):
            for name, one in value.items():
                _check_text(path, str(name))
                waiting.append((f"{path}.{name}", depth + 1, one))
        elif isinstance(value, Sequence):
            waiting += [(f"{path}[{number}]", depth + 1, one) for number, one in enumerate(value)]


def _check_text(path: str, text: str) -> None:
    hidden = next((c for c in text if category(c) in _UNSEEN and c not in "\t\n"), None)
    if hidden is not None:
        what = f"the invisible character U+{ord(hidden):04X} is not allowed"
        raise refuse(path, text, what, "remove it")


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
