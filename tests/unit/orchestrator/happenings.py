"""Events of one camera for orchestrator tests: a person walks through the yard and stands there."""

from collections.abc import Iterable
from typing import Any

from schemas.event import Envelope, Event
from schemas.events.camera_configured import CameraConfigured, Detect, Line, Zone
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.rule_defined import RuleDefined
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted, StreamOpened
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.stage import CameraStage, Effects

FIFTH = 200_000
NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z
SIZE = (100, 100)

Mark = StreamOpened | StreamAlive | StreamInterrupted | StreamClosed


def camera(name: str = "yard", version: int = 1, **fields: Any) -> CameraConfigured:
    values: dict[str, Any] = {
        "name": name.title(),
        "site": "home",
        "time_zone": "Europe/Berlin",
        "url": "sim://yard",
        "zones": (Zone(name="door", points=((0.2, 0.2), (0.8, 0.2), (0.8, 1.0), (0.2, 1.0))),),
        "lines": (Line(name="gate", a=(0.5, 0.0), b=(0.5, 1.0)),),
        "detect": Detect(classes=("person", "dog"), rate=5.0),
        "document_version": version,
        "effective_at": NOON - 1_000_000,
        **fields,
    }
    return CameraConfigured(camera=name, **values)


def enters(id: str = "enters", **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "title": "Person enters",
        "level": "high",
        "match": {"enter": {"class": "person", "zone": "door"}},
        **fields,
    }


def defined(document: dict[str, Any], revision: int = 1, at: int = NOON - 1) -> RuleDefined:
    return RuleDefined(
        rule=document["id"],
        revision=revision,
        rule_version="1.0.0",
        rule_hash="",
        document=document,
        effective_at=at,
    )


def knowing(*documents: dict[str, Any], cameras: Iterable[CameraConfigured] = ()) -> Knowledge:
    knowledge = Knowledge()
    for one in cameras or (camera(),):
        knowledge.configure(one)
    for document in documents:
        knowledge.define(defined(document))
    return knowledge


def opened(epoch: int = 1, at: int = NOON, lease: int = 1, name: str = "yard") -> StreamOpened:
    return StreamOpened(
        camera=name, epoch=epoch, opened_at=at, lease=lease, width=100, height=100, period=FIFTH
    )


def frame(n: int, *places: float, **fields: Any) -> DetectionsMade:
    """Frame n (from 1) with persons whose feet are at these x, in pixels, and y = 60."""
    values: dict[str, Any] = {
        "camera": "yard",
        "epoch": 1,
        "seq": n,
        "captured_at": NOON + n * FIFTH,
        "lease": 1,
        "coverage": "full",
        "model": "scripted",
        **fields,
    }
    found = tuple(Detection("person", 0.9, (x - 10.0, 20.0, 20.0, 40.0)) for x in places)
    return DetectionsMade(width=100, height=100, period=FIFTH, detections=found, **values)


def walk(frames: int = 60, **fields: Any) -> list[DetectionsMade]:
    """From left to right through the door at 1.5 pixels a frame."""
    return [frame(n, n * 1.5, **fields) for n in range(1, frames + 1)]


def envelope(event: Event, offset: int, partition: int = 0) -> Envelope:
    return Envelope(
        id=f"e{partition}-{offset}",
        source="/test",
        topic="detections",
        key=event.key,
        event=event,
        partition=partition,
        offset=offset,
    )


def handled(stage: CameraStage, *events: Event, start: int = 0) -> Effects:
    """What a stage says about events in a row."""
    effects = Effects()
    for offset, event in enumerate(events, start=start):
        effects.add(stage.handle(envelope(event, offset), now=NOON))
    return effects
