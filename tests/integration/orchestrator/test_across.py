"""Rules over several cameras with both stages killed: incidents once, under the ids of an undisturbed run."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.event import Envelope, Event
from schemas.events.alert_raised import AlertRaised
from schemas.events.incident_changes import IncidentOpened
from schemas.events.plan_decided import PlanDecided
from schemas.events.predicates_observed import PredicatesObserved
from services.orchestrator.across import AcrossStage
from services.orchestrator.handlers import DetectionHandler, PredicateHandler, StageHandler
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.stage import CameraStage
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock, SystemClock
from shared.db.checkpoints import Checkpoints
from shared.db.engine import Database
from shared.db.sqlite import open_sqlite
from shared.metrics import Metrics
from tests.integration.orchestrator.test_checkpoints import Log, outbox_of
from tests.integration.orchestrator.test_service import World, add, running, until
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

DETECTIONS, PREDICATES = Partition("detections", 0), Partition("predicates", 0)
CROWD: dict[str, Any] = {
    "id": "crowd",
    "title": "Three in both yards",
    "level": "high",
    "cooldown": "4s",
    "match": {
        "count": {"across": "cameras", "class": "person", "zone": "door", "op": ">=", "n": 3}
    },
}
BOTH: dict[str, Any] = {
    "id": "both",
    "level": "medium",
    "match": {
        "distinct": {
            "of": {"enter": {"zone": "door"}}, "field": "camera", "op": ">=", "n": 2, "within": "2s"
        }
    },
}  # fmt: skip


def story() -> tuple[Knowledge, list[Event]]:
    """Two cameras for fourteen seconds: people come and go on both; each camera is one of its own partition."""
    known = knowing(CROWD, BOTH, enters(), cameras=(camera(), camera("back")))
    events: list[Event] = [opened(), opened(name="back")]
    for n in range(1, 71):
        there = [30.0, 50.0] if n % 35 > 10 else []
        events.append(frame(n, *there))
        events.append(frame(n, *([50.0] if n % 35 > 14 else []), camera="back"))
    return known, events


def statements(known: Knowledge, events: list[Event]) -> list[Envelope]:
    """What the cameras answer when nobody disturbs them."""
    said = handled(CameraStage(known), *events).fast
    return [one for one in said if isinstance(one.event, PredicatesObserved)]


def placed(said: list[Envelope]) -> list[Envelope]:
    return [
        msgspec.structs.replace(one, partition=0, offset=offset) for offset, one in enumerate(said)
    ]


def undisturbed(known: Knowledge, said: list[Envelope]) -> list[Envelope]:
    stage = AcrossStage(known)
    return [one for told in placed(said) for one in stage.handle(told, now=NOON).incidents]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}"
    async with open_sqlite(
        url, service="orchestrator", clock=clock, migrations="services.orchestrator.migrations"
    ) as opened_database:
        yield opened_database


class Lives:
    """One stage that is killed again and again, by being forgotten, over what stands on its partition."""

    def __init__(self, kind: type[StageHandler[Any]], place: Partition, known: Knowledge) -> None:
        self.kind, self.place, self.known = kind, place, known
        self.batches = 12 if place.topic == "detections" else 3
        self.number = 0

    async def run(
        self, database: Database, clock: ManualClock, log: Log, told: list[Envelope], seed: int
    ) -> None:
        chance, position = random.Random(seed), 0
        checkpoints = Checkpoints(database)
        while position < len(told):
            made = self.kind(
                database, checkpoints, log, clock,
                knowledge=self.known, metrics=Metrics(), interval_s=1.0,
            )  # fmt: skip
            await made.assigned(self.place)
            position = await checkpoints.load(made.group, self.place) or 0
            self.number += 1
            for _ in range(chance.randint(1, self.batches) if self.number < 12 else len(told)):
                if position >= len(told):
                    return
                end = min(position + chance.randint(1, 7), len(told))
                await made(Batch(self.place, tuple(told[position:end]), end))
                clock.advance(chance.choice([0.0, 0.3, 1.1]))
                position = end


@pytest.mark.parametrize("seed", range(3))
async def test_killed_anywhere_every_incident_comes_once(
    database: Database, clock: ManualClock, seed: int
) -> None:
    known, events = story()
    expected = undisturbed(known, statements(known, events))
    assert {one.event.cause.rule for one in expected if isinstance(one.event, IncidentOpened)} == {
        "crowd", "both"
    }  # fmt: skip
    log = Log()
    first = Lives(DetectionHandler, DETECTIONS, known)
    await first.run(database, clock, log, [envelope(e, n) for n, e in enumerate(events)], seed)
    said = [one for one in log.said if isinstance(one.event, PredicatesObserved)]
    assert len(said) > len(statements(known, events))  # replayed seconds were said again
    second = Lives(PredicateHandler, PREDICATES, known)
    await second.run(database, clock, log, placed(said), seed)
    assert min(first.number, second.number) > 3
    waiting = await outbox_of(database)
    across = [one for one in waiting if _rule(one) != "enters"]
    assert [one.id for one in across if _rule(one)] == [one.id for one in expected if _rule(one)]
    ids = [one.id for one in waiting]
    assert len(set(ids)) == len(ids)
    assert {one.id for one in expected} <= set(ids)


async def test_state_moves_with_the_partition_at_every_statement(
    database: Database, clock: ManualClock
) -> None:
    known, events = story()
    told = placed(statements(known, events))
    expected = undisturbed(known, [*statements(known, events)])
    checkpoints, log = Checkpoints(database), Log()
    for one in told:
        owner = PredicateHandler(
            database, checkpoints, log, clock,
            knowledge=known, metrics=Metrics(), interval_s=60.0,
        )  # fmt: skip
        await owner.assigned(PREDICATES)
        assert (await checkpoints.load(owner.group, PREDICATES) or 0) == one.offset
        await owner(Batch(PREDICATES, (one,), one.offset + 1))
        await owner.revoked(PREDICATES)
    assert [one.id for one in await outbox_of(database)] == [one.id for one in expected]


def _rule(told: Envelope) -> str:
    cause = getattr(told.event, "cause", None)
    return cause.rule if cause is not None else ""


@pytest.mark.parametrize("seed", range(8))
def test_replay_is_live_however_the_cameras_come(seed: int) -> None:
    known, events = story()
    said = statements(known, events)
    chance = random.Random(seed)
    due = [one.event.at + chance.randint(0, 3_000_000) for one in said if one.event is not None]
    mixed = [said[n] for n in sorted(range(len(said)), key=lambda n: due[n])]
    ends = [_much_later(name) for name in ("yard", "back")]
    straight = undisturbed(known, [*said, *ends])
    other = undisturbed(known, [*mixed, *ends])
    assert [one.id for one in straight] == [one.id for one in other]


def _much_later(name: str) -> Envelope:
    last = PredicatesObserved(
        site="home", camera=name, camera_version=1, epoch=1, seq=99,
        observed_at=NOON + 60_000_000, said_at=NOON, period=FIFTH,
    )  # fmt: skip
    return Envelope(id=f"end-{name}", source="/t", topic="predicates", key="home", event=last)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        AcrossStage(knowing()).load(b"nonsense")


async def test_two_cameras_and_a_rule_over_both_make_one_incident(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        now = SystemClock().now()
        await world.say(
            camera(effective_at=now), camera("back", effective_at=now), topic=topics.CAMERAS
        )
        await until(lambda: len(world.of(PlanDecided)) == 2)
        saved = await add(api, CROWD | {"tests": []})
        assert [one["path"] for one in saved["warnings"]] == ["$.tests"]
        start = now + 10_000_000
        frames = []
        for n in range(1, 40):
            at = start + n * FIFTH
            frames += [
                frame(n, 30, 60, captured_at=at),
                frame(n, 50, captured_at=at, camera="back"),
            ]
        await world.say(opened(at=start), opened(at=start, name="back"), *frames)
        await until(lambda: len(world.of(AlertRaised)) == 1)
        (incident,) = world.of(IncidentOpened)
        (alert,) = world.of(AlertRaised)
        assert (incident.cameras, alert.cameras) == (("back", "yard"), ("back", "yard"))
        assert (incident.cause.topic, incident.group) == ("predicates", "site=home")
        assert alert.summary.startswith("3 x person in door on Back and Yard at ")
        path = f"/incidents/{incident.incident}/transitions"
        body = {"target": "RESOLVED", "outcome": "tp"}
        assert (await api.post(path, json=body)).status_code == 201
