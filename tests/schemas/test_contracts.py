"""A breaking change needs a new version: schemas are compared with those that were released."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.catalog import EVENTS
from schemas.event import Event, type_name
from shared import contracts
from tests.schemas.test_examples import EXAMPLES, load

RELEASED = Path(__file__).parent / "released"


@pytest.mark.parametrize("event", EVENTS, ids=type_name)
def test_no_unversioned_breaking_change(event: type[Event]) -> None:
    path = RELEASED / f"{type_name(event)}.json"
    assert path.exists(), f"new event: copy schemas/generated/{path.name} to {path.parent}"
    assert contracts.breaks(json.loads(path.read_text()), contracts.json_schema(event)) == [], (
        "a breaking change: make a new class with the next version beside the old one"
    )


def test_a_released_event_is_never_dropped() -> None:
    assert {path.stem for path in RELEASED.glob("*.json")} <= {type_name(event) for event in EVENTS}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_messages_fit_their_schema(path: Path) -> None:
    document, _, _ = load(path)
    if "value" in document:
        released = json.loads((RELEASED / f"{path.parent.name}.json").read_text())
        jsonschema.validate(document["value"], released)


BASE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "camera": {"type": "string"},
        "count": {"type": "integer", "minimum": 0},
        "state": {"enum": ["on", "off"]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
    },
    "required": ["camera"],
    "$defs": {"Item": {"type": "object", "properties": {"x": {"type": "number"}}, "required": []}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(BASE))
    place = document
    *parents, last = path.split("/")
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "breaking"),
    [
        ("properties/note", {"type": "string"}, False),
        ("properties/state", {"enum": ["on", "off", "idle"]}, False),
        ("properties/camera", {"type": "string", "description": "which"}, False),
        ("properties/camera", None, True),
        ("properties/camera", {"type": "integer"}, True),
        ("properties/state", {"enum": ["on"]}, True),
        ("properties/count", {"type": "integer", "minimum": 1}, True),
        ("properties/camera", {"type": "string", "pattern": "^a"}, True),
        ("required", ["camera", "count"], True),
        ("$defs/Item/properties/x", {"type": "string"}, True),
        ("$defs/Item/required", ["x"], True),
    ],
)
def test_what_counts_as_breaking(path: str, value: Any, breaking: bool) -> None:
    assert bool(contracts.breaks(BASE, changed(path, value))) is breaking
