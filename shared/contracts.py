"""The contract as documents: JSON Schema per event, AsyncAPI 3 per service, and `events.md`.

They are made from the catalog and from what each SERVICE declares, so they cannot say anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from schemas.catalog import EVENTS
from schemas.event import Event, Topic, type_name
from schemas.events.frame_captured import FrameCaptured
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shared.service import Service

Schema = dict[str, Any]

NOTICE = "Made by `make contracts`; change the code, not this file."


def documents(services: Sequence[Service]) -> dict[str, str]:
    """Every generated document, by its path below `schemas/generated`."""
    made = {f"{type_name(event)}.json": _json(json_schema(event)) for event in EVENTS}
    for service in services:
        if service.consumes or service.produces:
            made[f"asyncapi/{service.name}.yaml"] = _yaml(asyncapi(service))
    made["events.md"] = events_table(services)
    return made


def stale(services: Sequence[Service], folder: Path) -> list[str]:
    """Paths whose committed text differs from what the code says, missing and left-over ones included."""
    made = documents(services)
    there = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def write(services: Sequence[Service], folder: Path) -> list[str]:
    """Write what is stale, remove what is left over; answers the paths that changed."""
    made = documents(services)
    changed = stale(services, folder)
    for name in changed:
        path = folder / name
        if name in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[name])
        else:
            path.unlink()
    return changed


def events_on(topic: Topic) -> list[type[Event]]:
    """The events that a topic may carry."""
    return [event for event in EVENTS if topic in event.topics]


def json_schema(event: type[Event]) -> Schema:
    """JSON Schema of an event's data; for a frame, of the attributes that travel as headers."""
    (schema,), components = msgspec.json.schema_components([event], ref_template="#/$defs/{name}")
    top = dict(components.pop(event.__name__, schema))
    top["title"] = type_name(event)
    if event is FrameCaptured:
        top["$comment"] = "These fields travel as ce_* headers; the value is a JPEG."
    if components:
        top["$defs"] = components
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top}


def asyncapi(service: Service) -> Schema:
    """The AsyncAPI 3 document of one service: it receives what it consumes and sends what it produces."""
    topics = {topic.name: topic for topic in (*service.consumes, *service.produces)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Vantage {service.name}",
            "version": "1.0.0",
            "description": service.description or f"Events of the service {service.name}.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic) for name, topic in sorted(topics.items())},
        "operations": {
            **{f"receive.{topic.name}": _operation("receive", topic) for topic in service.consumes},
            **{f"send.{topic.name}": _operation("send", topic) for topic in service.produces},
        },
        "components": {
            "messages": {
                type_name(event): _message(event)
                for topic in topics.values()
                for event in events_on(topic)
            }
        },
    }


def events_table(services: Sequence[Service]) -> str:
    """All events on one page: who says them, who listens, what orders them, how long they stay."""
    rows = [
        "# Events",
        "",
        f"<!-- {NOTICE} -->",
        "",
        "| event | topic | key | said by | heard by | kept | what |",
        "|---|---|---|---|---|---|---|",
    ]
    for topic in TOPICS:
        rows.extend(_row(event, topic, services) for event in events_on(topic))
    return "\n".join(rows) + "\n"


def _row(event: type[Event], topic: Topic, services: Sequence[Service]) -> str:
    said = ", ".join(service.name for service in services if topic in service.produces)
    heard = ", ".join(service.name for service in services if topic in service.consumes)
    cells = (
        f"[`{type_name(event)}`]({type_name(event)}.json)",
        f"`{topic.name}` ({topic.partitions})",
        f"`{_key_field(event)}`",
        said,
        heard,
        _kept(topic),
        (event.__doc__ or "").splitlines()[0],
    )
    return "| " + " | ".join(cells) + " |"


def _key_field(event: type[Event]) -> str:
    return "camera" if "camera" in event.__struct_fields__ else event.__struct_fields__[0]


def _kept(topic: Topic) -> str:
    if topic.kind == "ephemeral":
        return "newest only"
    if topic.kind == "compacted":
        return "current document"
    return f"{topic.retention_hours} h"


def _channel(topic: Topic) -> Schema:
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {
            type_name(event): {"$ref": f"#/components/messages/{type_name(event)}"}
            for event in events_on(topic)
        },
        "bindings": {"kafka": {"partitions": topic.partitions}},
    }


def _operation(action: str, topic: Topic) -> Schema:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}


def _message(event: type[Event]) -> Schema:
    frame = event is FrameCaptured
    schema = {"$ref": f"../{type_name(event)}.json"}
    return {
        "name": type_name(event),
        "title": event.__name__,
        "summary": (event.__doc__ or "").splitlines()[0],
        "contentType": "image/jpeg" if frame else "application/json",
        "headers": schema if frame else {"type": "object"},
        "payload": {"type": "string", "format": "binary"} if frame else schema,
    }


def _json(document: Schema) -> str:
    return (
        msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"
    )


def _yaml(document: Schema) -> str:
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return f"# {NOTICE}\n{text}"


def breaks(old: Schema, new: Schema) -> list[str]:
    """What a reader of `old` could no longer rely on in `new`, in words; empty when compatible.

    Compatible is only: a new field that is not required, a new description, a wider set of values.
    """
    return list(_breaks(_inline(old, old.get("$defs", {})), _inline(new, new.get("$defs", {})), ""))


def _breaks(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for keyword in ("type", "const", "pattern", "format"):
        if old.get(keyword) != new.get(keyword):
            yield f"{path or '/'}: {keyword} was {old.get(keyword)!r}, is {new.get(keyword)!r}"
    yield from _value_breaks(old, new, path or "/")
    yield from _field_breaks(old, new, path)
    for name, field in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _breaks(field, new["properties"][name], f"{path}/{name}")
    if isinstance(old.get("items"), dict):
        yield from _breaks(old["items"], new.get("items", {}), f"{path}[]")


def _value_breaks(old: Schema, new: Schema, path: str) -> Iterator[str]:
    gone = {str(value) for value in old.get("enum", [])}
    gone -= {str(value) for value in new.get("enum") or old.get("enum") or []}
    if gone:
        yield f"{path}: values taken away: {', '.join(sorted(gone))}"
    for limit, tighter in (("minimum", max), ("maximum", min)):
        before, after = old.get(limit), new.get(limit)
        if after is not None and (before is None or tighter(before, after) != before):
            yield f"{path}: {limit} tightened from {before} to {after}"


def _field_breaks(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for name in sorted(old.get("properties", {}).keys() - new.get("properties", {}).keys()):
        yield f"{path}/{name}: field taken away"
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{path}/{name}: now required"


def _inline(node: object, defs: Schema) -> Any:  # noqa: ANN401 - JSON is what it is
    """The schema without references; no event of ours contains itself."""
    if isinstance(node, list):
        return [_inline(item, defs) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(defs[node["$ref"].removeprefix("#/$defs/")], defs)
    return {name: _inline(value, defs) for name, value in node.items() if name != "$defs"}
