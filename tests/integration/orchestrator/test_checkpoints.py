"""A stage that is killed: incidents once, rows once, the replayed second says the same ids again."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from schemas.event import Envelope, Event, Topic
from schemas.events.alert_raised import AlertRaised
from schemas.events.incident_changes import IncidentMoved
from services.orchestrator import store
from services.orchestrator.handlers import GROUP, DetectionHandler
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.stage import CameraStage
from shared.bus.port import Batch, CommitRefused, Partition
from shared.clock import ManualClock
from shared.db import outbox
from shared.db.checkpoints import Checkpoints
from shared.db.engine import Database
from shared.errors import Transient
from shared.metrics import Metrics
from tests.engines.databases import open_database
from tests.unit.orchestrator.happenings import (
    NOON,
    camera,
    enters,
    envelope,
    frame,
    handled,
    knowing,
    opened,
    walk,
)

PLACE = Partition("detections", 0)


@dataclass
class Log:
    """A publisher that keeps what is said directly, or is away."""

    said: list[Envelope] = field(default_factory=list)
    away: bool = False

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        if self.away:
            raise Transient("the log is away")
        self.said += envelopes

    def mint(self, event: Event, *, id: str | None = None, **_: object) -> Envelope:
        return Envelope(
            id=id or "new", source="/t", topic=event.topics[0].name, key=event.key, event=event
        )

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        return Envelope(id=f"end-{key}", source="/t", topic=topic.name, key=key, event=None)


class Process:
    """One life of the orchestrator over the same database; killed by being forgotten."""

    def __init__(
        self, database: Database, clock: ManualClock, log: Log, knowledge: Knowledge
    ) -> None:
        self.checkpoints = Checkpoints(database)
        self.handler = DetectionHandler(
            database,
            self.checkpoints,
            log,
            clock,
            knowledge=knowledge,
            metrics=Metrics(),
            interval_s=1.0,
        )
        self.clock = clock

    async def begin(self) -> int:
        await self.handler.assigned(PLACE)
        return await self.checkpoints.load(GROUP, PLACE) or 0

    async def handle(self, events: list[Event], start: int, end: int) -> None:
        told = tuple(envelope(event, n) for n, event in enumerate(events[start:end], start))
        await self.handler(Batch(PLACE, told, end))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
async def database(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    async with open_database(
        database_url,
        service="orchestrator",
        clock=clock,
        migrations="services.orchestrator.migrations",
    ) as opened_database:
        yield opened_database


async def outbox_of(database: Database) -> list[Envelope]:
    async with database.read() as reader:
        return [outbox.envelope(row) for row in await reader.execute(outbox.oldest(1000))]


def story() -> tuple[Knowledge, list[Event]]:
    """Two people walk through the door of two cameras."""
    both = knowing(enters(), enters("low", level="low"), cameras=(camera(), camera("back")))
    events: list[Event] = [opened(), opened(name="back")]
    for here in walk():
        events += [here, frame(here.seq, 99 - here.seq * 1.5, camera="back")]
    return both, events


@pytest.mark.parametrize("seed", range(3))
async def test_killed_anywhere_every_incident_comes_once(
    database: Database, clock: ManualClock, seed: int
) -> None:
    knowledge, events = story()
    expected = handled(CameraStage(knowledge), *events)
    chance, log = random.Random(seed), Log()
    position, lives = 0, 0
    while position < len(events):
        process = Process(database, clock, log, knowledge)
        position = await process.begin()
        lives += 1
        dies_after = chance.randint(1, 12) if lives < 15 else len(events)
        for _ in range(dies_after):
            if position >= len(events):
                break
            end = min(position + chance.randint(1, 7), len(events))
            await process.handle(events, position, end)
            clock.advance(chance.choice([0.0, 0.3, 1.1]))
            position = end
    assert lives > 3
    waiting = await outbox_of(database)
    assert [one.id for one in waiting] == [one.id for one in expected.incidents]
    assert {one.id for one in log.said} == {one.id for one in expected.fast}
    by_id = {one.id: one.event for one in expected.fast}
    assert all(by_id[one.id] == one.event for one in log.said)


async def test_a_log_that_is_away_costs_nothing(database: Database, clock: ManualClock) -> None:
    knowledge, events = story()
    expected = handled(CameraStage(knowledge), *events)
    log = Log()
    process = Process(database, clock, log, knowledge)
    await process.begin()
    await process.handle(events, 0, 60)
    log.away = True
    with pytest.raises(Transient):
        await process.handle(events, 60, len(events))
    log.away = False
    position = await process.begin()  # the engine loads a stage anew after every failure
    await process.handle(events, position, len(events))
    assert [one.id for one in await outbox_of(database)] == [one.id for one in expected.incidents]


async def test_revoked_state_is_saved_and_taken_over(
    database: Database, clock: ManualClock
) -> None:
    knowledge, events = story()
    first, second = (Process(database, clock, Log(), knowledge) for _ in range(2))
    await first.begin()
    await first.handle(events, 0, 30)
    await first.handler.revoked(PLACE)
    assert await second.begin() == 30
    await second.handle(events, 30, len(events))
    raised = [one for one in await outbox_of(database) if isinstance(one.event, AlertRaised)]
    assert len(raised) == 2


async def test_whoever_was_overtaken_writes_nothing(database: Database, clock: ManualClock) -> None:
    knowledge, events = story()
    slow, fast = (Process(database, clock, Log(), knowledge) for _ in range(2))
    await slow.begin()
    await fast.begin()
    await fast.handle(events, 0, len(events))
    clock.advance(2.0)
    await fast.handle([*events, events[-1]], len(events), len(events) + 1)
    before = await outbox_of(database)
    clock.advance(2.0)
    with pytest.raises(CommitRefused):
        await slow.handle(events, 0, 20)
    assert await outbox_of(database) == before


async def test_transitions_are_kept_in_order_without_a_gap(
    database: Database, clock: ManualClock
) -> None:
    knowledge, events = story()
    process = Process(database, clock, Log(), knowledge)
    await process.begin()
    await process.handle(events, 0, len(events))
    moves = [one.event for one in await outbox_of(database) if isinstance(one.event, IncidentMoved)]
    for incident in {move.incident for move in moves}:
        seqs = [move.seq for move in moves if move.incident == incident]
        assert seqs == [1, 2, 3, 4]
        async with database.read() as reader:
            standing = await store.standing(reader, incident)
        assert standing is not None
        assert (standing.state, standing.seq) == ("OPEN", 4)
