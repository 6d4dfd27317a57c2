"""The relay's lease: kept through a long send, cut off with it, and another's soon after its holder was killed."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from sqlalchemy import text, update

from schemas.event import Envelope
from shared.clock import SystemClock
from shared.db.base import LEASES
from shared.db.engine import Database
from shared.db.leases import Leases
from shared.db.relay import LEASE, RENEWALS, TTL_S, Relay
from tests.engines.databases import open_database
from tests.unit.db.test_relay import (
    FULL_DISKS,
    Said,
    emptied,
    is_leased,
    left,
    relay,
    running,
    say,
    until,
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, service="vms", clock=SystemClock()) as opened:
        yield opened


class Slow(Said):
    """A publisher that takes its time; `cut`: it was not let to its end."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.cut = asyncio.Event()
        self.cut_at = 0  # microseconds UTC
        self._seconds = seconds

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cut_at = time.time_ns() // 1000
            self.cut.set()
            raise
        await super().publish(envelopes)


def leased(database: Database, said: Said, owner: str) -> Relay:
    """A relay whose lease is as short as a test has time for."""
    return Relay(database, said, owner=owner, clock=database.clock, poll_s=0.05, ttl_s=0.6)


async def test_a_send_that_takes_longer_than_the_lease_keeps_it(database: Database) -> None:
    slow, other = Slow(1.5), Said()
    await say(database, [1])
    async with running(leased(database, slow, "one")):
        await slow.begun.wait()
        async with running(leased(database, other, "two")):
            await emptied(database)
    assert (slow.ids, other.ids) == (["e-1"], [])


async def test_who_loses_the_lease_in_a_send_is_cut_off(database: Database) -> None:
    slow, other = Slow(60.0), Said()
    await say(database, [1])
    async with running(leased(database, slow, "one")):
        await slow.begun.wait()
        async with database.transaction() as tx:
            await tx.execute(update(LEASES).values(owner="two", generation=LEASES.c.generation + 1))
        async with asyncio.timeout(2):
            await slow.cut.wait()
        assert await left(database) == 1
        async with running(leased(database, other, "two")):
            await emptied(database)
    assert (slow.ids, other.ids) == ([], ["e-1"])


async def test_who_cannot_renew_the_lease_is_cut_off_before_it_is_anothers(
    database: Database, database_url: str
) -> None:
    fill, _ = FULL_DISKS[database_url.partition("://")[0].removesuffix("+aiosqlite")]
    slow = Slow(60.0)
    await say(database, [1])
    async with running(leased(database, slow, "one")):
        await slow.begun.wait()
        async with database.transaction() as tx:
            for statement in fill:
                await tx.execute(text(statement))
        (lease,) = await Leases(database, database.clock).held(LEASE)
        async with asyncio.timeout(2):
            await slow.cut.wait()
        assert slow.cut_at <= lease.expires_at + 500_000  # a busy machine wakes up late
        assert await left(database) == 1


@pytest.mark.row("R2")
async def test_killed_and_not_started_again_another_process_goes_on(
    database: Database, database_url: str, record_property: Callable[[str, object], None]
) -> None:
    code = f"""
import asyncio
from shared.clock import SystemClock
from shared.db.relay import Relay
from tests.engines.databases import open_database
from tests.unit.db.test_relay import Said

async def main():
    clock = SystemClock()
    async with open_database({database_url!r}, service="vms", clock=clock) as db:
        await Relay(db, Said(), owner="one", clock=clock).run()

asyncio.run(main())
"""
    said = Said()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await until(lambda: is_leased(database))
    await asyncio.sleep(TTL_S / RENEWALS + 0.5)  # it has renewed
    async with running(relay(database, said, owner="two", poll_s=1.0)):
        process.kill()
        await process.wait()
        began = time.monotonic()
        await say(database, [1])
        async with asyncio.timeout(60):
            await said.heard.wait()
        took = time.monotonic() - began
    record_property("relay_takeover_s", round(took, 1))
    assert took < TTL_S + 2.5  # and a turn of its poll
