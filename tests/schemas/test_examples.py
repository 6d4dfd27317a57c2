"""Golden messages of every version are decoded for ever, and say the same when written again."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from schemas import cloudevents
from schemas.catalog import BY_TYPE
from schemas.event import type_name
from schemas.topics import TOPICS

ROOT = Path(__file__).parents[2] / "schemas" / "examples"
EXAMPLES = sorted(ROOT.rglob("*.json"))


def load(path: Path) -> tuple[dict[str, Any], cloudevents.Headers, bytes]:
    document = json.loads(path.read_text())
    headers = tuple((name, value.encode()) for name, value in document["headers"].items())
    if "value_base64" in document:
        return document, headers, base64.b64decode(document["value_base64"])
    return document, headers, json.dumps(document["value"]).encode()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_golden_message_is_decoded_and_says_the_same_again(path: Path) -> None:
    document, headers, value = load(path)
    envelope = cloudevents.decode(document["topic"], document["key"], headers, value)
    assert envelope.event is not None
    assert envelope.event.key == document["key"]
    assert type_name(type(envelope.event)) == path.parent.name
    again_headers, again = cloudevents.encode(envelope)
    assert dict(again_headers) == dict(headers)
    assert again is not None
    if "value" in document:
        # Every field of the old message is still there with its value; new optional ones may stand beside.
        assert document["value"].items() <= json.loads(again).items()
    else:
        assert again == value


def test_every_event_has_a_golden_message() -> None:
    assert {path.parent.name for path in EXAMPLES} >= set(BY_TYPE)


def test_every_topic_carries_an_event_and_a_compacted_one_just_one() -> None:
    for topic in TOPICS:
        events = [event for event in BY_TYPE.values() if topic in event.topics]
        assert events, topic.name
        if topic.kind == "compacted":
            assert len(events) == 1, topic.name
