"""Strict reading of document parts: what does not fit is an error with path, value and remedy."""

from typing import Any, TypeVar

import msgspec

from shared.rules.durations import PATTERN, Duration, parse
from shared.rules.errors import mapping, translated

T = TypeVar("T", bound=msgspec.Struct)


def read(kind: type[T], raw: object, path: str) -> T:
    """`raw` as a struct that forbids unknown fields.

    Raises:
        RuleError: a field is unknown, missing or of another type.
    """
    mapping(raw, path, path.rsplit(".", 1)[-1])
    try:
        return msgspec.convert(raw, kind, strict=True, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise translated(error, raw, path, kind) from error


def duration(raw: object, path: str) -> Duration:
    """A duration that stands alone.

    Raises:
        RuleError: it is none.
    """
    try:
        return msgspec.convert(raw, Duration, strict=True, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise translated(error, raw, path, None) from error


def struct_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema of a struct, in one piece: nothing is referred to."""
    (found,), parts = msgspec.json.schema_components([kind], schema_hook=_schema_hook)
    return {name: _inlined(value, parts) for name, value in _target(found, parts).items()}


def _inlined(node: object, parts: dict[str, Any]) -> object:
    if isinstance(node, dict):
        return {name: _inlined(value, parts) for name, value in _target(node, parts).items()}
    if isinstance(node, list | tuple):
        return [_inlined(value, parts) for value in node]
    return node


def _target(node: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    return parts[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node


def _schema_hook(kind: type[Any]) -> dict[str, Any]:
    if kind is Duration:
        return {"type": "string", "pattern": PATTERN}
    raise TypeError(f"no schema for {kind.__name__}")


def _hook(kind: type[Any], raw: object) -> object:
    if kind is Duration:
        return parse(raw)
    raise TypeError(f"no reading for {kind.__name__}")
