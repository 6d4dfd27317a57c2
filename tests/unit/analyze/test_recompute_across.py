"""Rules over several cameras recomputed: as live, however the log has them, and with all the cameras that they need."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.event import Envelope, Event
from schemas.events.detections_made import DetectionsMade
from schemas.events.incident_changes import IncidentOpened
from schemas.events.predicates_observed import PredicatesObserved
from schemas.events.stream_marks import StreamClosed
from services.analyze.recompute import AFTER_US, Counts, Part, recomputed, write
from services.analyze.sites import concerned
from services.orchestrator.across import AcrossStage
from services.orchestrator.stage import CameraStage, Effects
from shared.bus.memory import open_memory
from shared.bus.partitions import partition_of
from shared.bus.port import Log
from shared.bus.publisher import message
from tests.unit.orchestrator.happenings import (
    FIFTH,
    NOON,
    camera,
    enters,
    envelope,
    frame,
    handled,
    knowing,
    opened,
)

SECOND = 1_000_000
DOOR = {"zone": "door"}
RULES: dict[str, dict[str, Any]] = {
    "crowd": {"count": {"across": "cameras", **DOOR, "op": ">=", "n": 3}},
    "few": {"count": {"across": "cameras", **DOOR, "op": "<=", "n": 0, "for": "1s"}},
    "both": {"distinct": {"of": {"enter": DOOR}, "field": "camera", "op": ">=", "n": 2, "within": "2s"}},
    "all": {"all": [{"enter": {"camera": "yard", **DOOR}}, {"enter": {"camera": "back", **DOOR, "within": "9s"}}]},
    "any": {"any": [{"enter": {"camera": "yard", **DOOR}}, {"enter": {"camera": "back", **DOOR}}]},
    "not": {"all": [{"enter": {"camera": "back", **DOOR}}, {"not": {"dwell": {"camera": "yard", **DOOR, "min": "3s"}}}]},
}  # fmt: skip
CAMERAS = ("yard", "back")
SCOPE = {"scope": {"cameras": list(CAMERAS)}}
KNOWLEDGE = knowing(
    enters(),
    *({"id": name, "level": "high", "match": match, **SCOPE} for name, match in RULES.items()),
    {"id": "elsewhere", "match": RULES["crowd"], "scope": {"cameras": ["back", "side"]}},
    cameras=[camera(), camera("back"), camera("side"), camera("far", site="away")],
)


def story() -> list[Event]:
    """People come and go on both cameras for sixteen seconds; then both streams end."""
    events: list[Event] = [opened(), opened(name="back")]
    for n in range(1, 81):
        there = [30.0, 50.0] if n % 35 > 10 else []
        events.append(frame(n, *there))
        events.append(frame(n, *([50.0] if n % 35 > 14 else []), camera="back"))
    ends = NOON + 81 * FIFTH
    return [
        *events,
        *(
            StreamClosed(camera=name, epoch=1, closed_at=ends, lease=1, reason="over")
            for name in CAMERAS
        ),
    ]


def live(events: list[Event]) -> list[Envelope]:
    """What both stages say of events, each as soon as it is there."""
    stage, said = AcrossStage(KNOWLEDGE), handled(CameraStage(KNOWLEDGE), *events)
    heard = [one for one in said.fast if isinstance(one.event, PredicatesObserved)]
    for offset, one in enumerate(heard):
        placed = msgspec.structs.replace(one, partition=0, offset=offset)
        said.incidents += stage.handle(placed, now=NOON).incidents
    return said.incidents


def ids(said: list[Envelope]) -> list[str]:
    return sorted(one.id for one in said)


def incidents(said: list[Envelope]) -> list[IncidentOpened]:
    return [one.event for one in said if isinstance(one.event, IncidentOpened)]


async def append(log: Log, events: list[Event]) -> None:
    for number, event in enumerate(events):
        await log.append([message(envelope(event, number))])


async def found(events: list[Event], part: Part) -> tuple[Effects, Counts]:
    counts, all_of_it = Counts(), Effects()
    async with open_memory() as log:
        await append(log, events)
        async for effects in recomputed(log, KNOWLEDGE, part, counts):
            all_of_it.add(effects)
    return all_of_it, counts


def late(events: list[Event], name: str, by: int) -> list[Event]:
    """The same events; those of a camera lie on the log so many microseconds of event time after the others."""
    return sorted(events, key=lambda event: event.at + (by if event.key == name else 0))


def test_the_story_is_one_of_two_partitions_and_fulfils_every_rule() -> None:
    assert len({partition_of(name, 8) for name in CAMERAS}) == 2
    assert {one.cause.rule for one in incidents(live(story()))} == {"enters", *RULES}


@pytest.mark.parametrize(("name", "by"), [("yard", 0), ("yard", 2 * SECOND), ("back", 60 * SECOND)])
async def test_it_says_what_live_said_however_far_one_camera_is_behind(name: str, by: int) -> None:
    events = story()
    effects, counts = await found(late(events, name, by), Part())
    assert ids(effects.incidents) == ids(live(events))
    assert (counts.events, counts.bad, counts.late) == (len(events), 0, 0)
    assert counts.incidents == len(incidents(effects.incidents))


async def test_the_cause_is_a_place_on_the_log_that_was_read() -> None:
    events = story()
    async with open_memory() as log:
        await append(log, events)
        places = {}
        async for effects in recomputed(log, KNOWLEDGE, Part(), Counts()):
            for one in incidents(effects.incidents):
                places[one.cause.rule] = (one.cause.topic, one.cause.partition)
    assert places.keys() == {"enters", *RULES}
    assert set(places.values()) <= {("detections", partition_of(name, 8)) for name in CAMERAS}


async def test_of_one_camera_its_rules_are_derived_with_the_cameras_that_they_need() -> None:
    everything, _ = await found(story(), Part())
    effects, counts = await found(story(), Part(cameras=frozenset({"back"})))
    assert counts.along == {"yard", "side"}
    over = [one for one in incidents(everything.incidents) if one.cause.rule != "enters"]
    found_over = [one for one in incidents(effects.incidents) if one.cause.rule != "enters"]
    assert found_over == over
    alone = [one for one in incidents(effects.incidents) if one.cause.rule == "enters"]
    assert {one.camera for one in alone} == {"back"}
    assert {one.key for one in effects.fast} == {"back", "home"}
    assert counts.events == len([event for event in story() if event.key == "back"])


def test_only_rules_that_ask_the_camera_and_only_cameras_that_they_ask_are_concerned() -> None:
    assert concerned(KNOWLEDGE, frozenset()) == ({*RULES, "elsewhere"}, {*CAMERAS, "side"})
    assert concerned(KNOWLEDGE, frozenset({"side"})) == ({"elsewhere"}, {"back", "side"})
    assert concerned(KNOWLEDGE, frozenset({"far"})) == (set(), set())
    anywhere = {"id": "anywhere", "match": RULES["crowd"]}
    cameras = [camera(), camera("back"), camera("far", site="away")]
    everybody = concerned(knowing(enters(), anywhere, cameras=cameras), frozenset({"yard"}))
    assert everybody == ({"anywhere"}, {"yard", "back"})
    assert concerned(knowing(enters(), cameras=cameras), frozenset({"yard"})) == (set(), set())


async def test_up_to_a_time_all_is_decided_that_live_decides_later() -> None:
    events, until = story(), NOON + 15 * FIFTH
    expected = {one.incident for one in incidents(live(events)) if one.matched_at < until}
    later = {one.incident for one in incidents(live(events)) if one.matched_at >= until}
    assert expected
    assert later
    effects, counts = await found(events, Part(until=until))
    assert {one.incident for one in incidents(effects.incidents)} == expected
    seen = [one for one in events if one.at < until]
    assert (counts.events, counts.last_at) == (len(seen), max(one.at for one in seen))
    shown = [one.event for one in effects.fast if one.event is not None]
    assert max(event.at for event in shown) < until
    assert AFTER_US == 16 * SECOND


async def test_after_a_time_nothing_is_known_of_before() -> None:
    since = NOON + 40 * FIFTH
    effects, counts = await found(story(), Part(since=since))
    assert min(one.matched_at for one in incidents(effects.incidents)) >= since
    assert counts.first_at == since


async def test_what_cannot_be_digested_is_passed_over(tmp_path: Path) -> None:
    events = story()
    (last,) = [event for event in events if isinstance(event, DetectionsMade) and event.seq == 30 and event.key == "yard"]  # fmt: skip
    nan = msgspec.structs.replace(last.detections[0], box=(float("nan"), 0.0, 5.0, 5.0))
    broken = msgspec.structs.replace(last, detections=(nan,))
    place = events.index(last)
    async with open_memory() as log:
        await append(log, [*events[:place], broken, *events[place:]])
        counts = await write(log, KNOWLEDGE, Part(cameras=frozenset({"back"})), tmp_path, print)
    assert counts.bad == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["cameras"], summary["heard_along"]) == (["back"], ["side", "yard"])
    rows = [json.loads(line) for line in (tmp_path / "incidents.jsonl").read_text().splitlines()]
    opened_ = {row["data"]["incident"] for row in rows if row["type"] == "incident.opened.v1"}
    expected = incidents(live(events))
    assert opened_ == {
        one.incident for one in expected if one.cause.rule != "enters" or one.camera == "back"
    }
