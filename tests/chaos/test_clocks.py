"""Clocks that jump or differ between hosts (R21): leases change hands late or early, never twice at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from schemas import topics
from shared.bus.memory import open_memory
from shared.bus.port import Log
from shared.bus.publisher import ServicePublisher
from shared.clock import ManualClock
from shared.db.engine import Database
from shared.db.leases import LeaseLost, Leases, fence
from shared.db.relay import Relay
from shared.db.sqlite import open_sqlite
from tests.contract.bus import everything
from tests.contract.test_db import status

pytestmark = pytest.mark.row("R21")
MINUTES = 300.0
JUMPS = (MINUTES, -MINUTES, 86_400.0 * 365 * 30, -86_400.0 * 365 * 20)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def host(
    stack: AsyncExitStack, folder: Path, ahead: float
) -> tuple[Leases, Database, ManualClock]:
    """A process of a host whose clock is so many seconds ahead, on the database that all share."""
    clock = ManualClock(now=1_700_000_000_000_000 + round(ahead * 1_000_000))
    url = f"sqlite+aiosqlite:///{folder}"
    database = await stack.enter_async_context(open_sqlite(url, service="vms", clock=clock))
    return Leases(database, clock), database, clock


@pytest.mark.parametrize("ahead", [MINUTES, -MINUTES])
async def test_a_host_whose_clock_differs_never_shares_a_lease(
    stack: AsyncExitStack, tmp_path: Path, ahead: float
) -> None:
    """Who is ahead may take it early: the generation then tells the old holder's words from the new one's."""
    here, database, _ = await host(stack, tmp_path, 0.0)
    there, _, _ = await host(stack, tmp_path, ahead)
    first = await here.take("camera/door", "a", 10.0)
    assert first is not None
    second = await there.take("camera/door", "b", 10.0)
    if ahead < 0:
        assert second is None
        return
    assert second is not None
    assert second.generation == first.generation + 1
    assert await here.renew(first, 10.0) is None
    with pytest.raises(LeaseLost):
        async with database.transaction() as tx:
            await fence(tx, first)


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_clock_that_jumps_costs_no_holder_its_own_lease(
    stack: AsyncExitStack, tmp_path: Path, jump: float
) -> None:
    leases, _, clock = await host(stack, tmp_path, 0.0)
    lease = await leases.take("camera/door", "a", 10.0)
    assert lease is not None
    clock.advance(jump)
    renewed = await leases.renew(lease, 10.0)
    assert renewed is not None
    again = await leases.take("camera/door", "a", 10.0)
    assert again is not None
    assert again.generation == lease.generation + 1


async def test_a_relay_goes_on_while_its_clock_jumps(tmp_path: Path) -> None:
    """Nothing is lost and the order of a key stays, whatever the wall clock does."""
    clock = ManualClock(now=1_700_000_000_000_000)
    url = f"sqlite+aiosqlite:///{tmp_path}"
    async with (
        open_sqlite(url, service="vms", clock=clock) as database,
        open_memory([topics.CAMERA_STATUS]) as log,
    ):
        publisher = ServicePublisher(log, "vms", [topics.CAMERA_STATUS])
        relay = Relay(database, publisher, owner="a", clock=clock, poll_s=0.02)
        running = asyncio.create_task(relay.run())
        said: list[str] = []
        for jump in JUMPS * 2:
            events = [status(len(said)), status(len(said) + 1)]
            async with database.transaction() as tx:
                await tx.add(events)
            said += [event.id for event in events]
            clock.advance(jump)
            await _arrived(log, said)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _arrived(log: Log, said: list[str]) -> None:
    deadline = time.monotonic() + 30
    while True:
        records = await everything(log, topics.CAMERA_STATUS)
        found = [dict(record.headers)["ce_id"].decode() for record in records]
        if found == said:
            return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
