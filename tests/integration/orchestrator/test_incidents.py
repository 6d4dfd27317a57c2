"""What people do with incidents: conflicts are decided again, and nobody's incident expires."""

from contextlib import AbstractAsyncContextManager

import pytest

from schemas.events.incident_changes import IncidentMoved, State
from services.orchestrator import store
from services.orchestrator.domain import Deed
from services.orchestrator.incidents import DAY_US, Incidents
from shared.clock import ManualClock
from shared.db.engine import Database, Reader
from shared.errors import Conflict
from shared.metrics import Metrics
from tests.engines.databases import open_database
from tests.integration.orchestrator.test_checkpoints import Log, Process, outbox_of, story
from tests.unit.orchestrator.happenings import NOON


async def started(database: Database, clock: ManualClock) -> tuple[Incidents, list[str]]:
    """Some open incidents, and who moves them."""
    knowledge, events = story()
    process = Process(database, clock, Log(), knowledge)
    await process.begin()
    await process.handle(events, 0, len(events))
    moves = [one.event for one in await outbox_of(database) if isinstance(one.event, IncidentMoved)]
    found = list(dict.fromkeys(move.incident for move in moves))
    return Incidents(database, Log(), clock, Metrics()), found


def opened(url: str, clock: ManualClock) -> AbstractAsyncContextManager[Database]:
    return open_database(
        url,
        service="orchestrator",
        clock=clock,
        migrations="services.orchestrator.migrations",
    )


def deed(actor: str) -> Deed:
    return Deed(actor=actor, reason="operator", at=NOON)


async def test_of_two_who_were_first_one_decides_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(NOON)
    async with opened(database_url, clock) as database:
        incidents, (first, *_) = await started(database, clock)
        stale = await _standing(database, first)
        await incidents.move(first, "ACKED", deed("ada"), request=None)
        real, reads = store.standing, 0

        async def late(reader: Reader, incident: str) -> store.Standing | None:
            """What the other process read before ada's commit; then the truth."""
            nonlocal reads
            reads += 1
            return stale if reads == 1 else await real(reader, incident)

        monkeypatch.setattr(store, "standing", late)
        with pytest.raises(Conflict, match="ACKED already"):
            await incidents.move(first, "ACKED", deed("bob"), request=None)
        assert reads == 2
        monkeypatch.undo()
        assert (await _standing(database, first)).seq == 5


async def test_what_nobody_closes_expires(database_url: str) -> None:
    clock = ManualClock(NOON)
    async with opened(database_url, clock) as database:
        incidents, found = await started(database, clock)
        await incidents.move(found[0], "ACKED", deed("ada"), request=None)
        states: dict[str, State] = {}
        assert await incidents.expire(before=NOON) == 0
        assert await incidents.expire(before=NOON + DAY_US) == len(found)
        assert await incidents.expire(before=NOON + DAY_US) == 0
        for incident in found:
            states[incident] = (await _standing(database, incident)).state
        assert set(states.values()) == {"EXPIRED"}


async def _standing(database: Database, incident: str) -> store.Standing:
    async with database.read() as reader:
        found = await store.standing(reader, incident)
    assert found is not None
    return found
