"""Plans of cameras are said once, in the order of the documents, whatever comes again."""

from collections.abc import AsyncIterator

import pytest

from schemas.event import Envelope
from schemas.events.plan_decided import PlanDecided
from services.orchestrator.handlers import PlanHandler
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock
from shared.db import outbox
from shared.db.engine import Database
from tests.engines.databases import open_database
from tests.integration.orchestrator.test_checkpoints import Log
from tests.unit.orchestrator.happenings import NOON, camera

PLACE = Partition("cameras", 0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(
        database_url,
        service="orchestrator",
        clock=ManualClock(NOON),
        migrations="services.orchestrator.migrations",
    ) as opened:
        yield opened


def document(version: int | None) -> Envelope:
    """The yard's document of a version; None: its removal."""
    event = None if version is None else camera(version=version)
    return Envelope(id=f"v{version}", source="/t", topic="cameras", key="yard", event=event)


async def said(database: Database, *batches: tuple[int | None, ...]) -> list[int | None]:
    """The versions of the plans that are said when documents come in these batches."""
    handler = PlanHandler(database, Log())
    for versions in batches:
        told = tuple(document(version) for version in versions)
        await handler(Batch(PLACE, told, len(versions)))
    async with database.read() as reader:
        rows = [outbox.envelope(row) for row in await reader.execute(outbox.oldest(100))]
    events = [row.event for row in rows]
    assert all(event is None or isinstance(event, PlanDecided) for event in events)
    return [event.plan_version if isinstance(event, PlanDecided) else None for event in events]


@pytest.mark.parametrize(
    ("batches", "plans"),
    [
        ([(1,), (2,), (3,)], [1, 2, 3]),
        ([(1, 2, 3)], [3]),
        ([(1,), (2,), (1, 2)], [1, 2]),  # it was killed before it had committed
        ([(1,), (2,), (1,)], [1, 2]),
        ([(1,), (None,), (None,)], [1, None]),
        ([(1,), (None,), (3,), (1, None, 3)], [1, None, 3]),
        ([(None,)], []),
    ],
)
async def test_an_old_plan_is_never_said_after_a_new_one(
    database: Database, batches: list[tuple[int | None, ...]], plans: list[int | None]
) -> None:
    assert await said(database, *batches) == plans
