"""The JSON Schema of `camrule/v1`, made from what the loader reads."""

from typing import Any

from shared.rules.document import Head
from shared.rules.examples import Example
from shared.rules.predicates import PREDICATES
from shared.rules.predicates.port import Fields
from shared.rules.questions import camera_schema, count_schema, distinct_schema
from shared.rules.reading import struct_schema
from shared.rules.schedules import Schedule

_POINT = {
    "type": "array",
    "prefixItems": [{"type": "number", "minimum": 0, "maximum": 1}] * 2,
    "minItems": 2,
    "maxItems": 2,
}


def rule_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a rule document."""
    document = struct_schema(Head)
    document["properties"] = {
        **document["properties"],
        "match": {"$ref": "#/$defs/condition"},
        "defs": _places(),
        "tests": {"type": "array", "items": struct_schema(Example)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "camrule/v1",
        "$defs": {"condition": _condition()},
    }


def _condition() -> dict[str, Any]:
    """Exactly one operator with its fields."""
    nested: dict[str, Any] = {"$ref": "#/$defs/condition"}
    several = {"type": "array", "items": nested, "minItems": 1}
    operators: dict[str, Any] = {
        name: camera_schema(kind.schema()) if issubclass(kind, Fields) else kind.schema()
        for name, kind in PREDICATES.items()
    }
    operators["count"] = count_schema(operators["count"])
    operators |= {
        "distinct": distinct_schema(nested),
        "all": several,
        "any": several,
        "not": nested,
    }
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": operators,
    }


def _places() -> dict[str, Any]:
    outline = {"type": "array", "items": _POINT, "minItems": 3, "maxItems": 65}
    line = {"type": "array", "items": _POINT, "minItems": 2, "maxItems": 2}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "zones": {"type": "object", "additionalProperties": outline},
            "lines": {"type": "object", "additionalProperties": line},
            "schedules": {"type": "object", "additionalProperties": struct_schema(Schedule)},
        },
    }
