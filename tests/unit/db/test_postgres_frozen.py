"""A process that froze in a transaction on PostgreSQL: what it has locked comes free, and who works loses nothing."""

import asyncio
import struct

import asyncpg
import pytest
from sqlalchemy import text

from shared.clock import SystemClock
from shared.db.engine import Database, DatabaseUnavailable
from shared.db.postgres import address, open_postgres
from shared.db.postgres.frozen import end_frozen
from shared.db.postgres.locks import lock_number

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("where", ["between statements", "within a statement"])
async def test_a_process_that_froze_does_not_keep_its_locks(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(address, "IDLE_S", 1.0)
    async with open_postgres(postgres_url, service="vms", clock=SystemClock()) as database:
        lock = lock_number("vms", "alone/register")
        frozen = await freeze(postgres_url, lock, within=where == "within a statement")
        lost = asyncio.Event()  # so it learns, when it thaws, that all was rolled back
        frozen.add_termination_listener(lambda _connection: lost.set())
        tries = 0
        while not await hold_alone(database, "register"):
            tries += 1
            assert tries < 60, "the lock never came free"
        assert tries >= 2
        async with asyncio.timeout(10):
            await lost.wait()


async def test_a_process_that_works_keeps_them(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "IDLE_S", 0.2)
    working, idle, we = [await address.read_address(postgres_url).connect("vms") for _ in "123"]
    work = asyncio.create_task(working.execute("SELECT pg_sleep(1)"))
    while not work.done():
        await asyncio.sleep(0.1)
        assert await end_frozen(we) == []
    assert await work == "SELECT 1"
    assert await idle.fetchval("SELECT 1") == 1
    for connection in (working, idle, we):
        await connection.close()


async def freeze(url: str, lock: int, *, within: bool) -> asyncpg.Connection:
    """A connection that holds a lock and says no more; `within`: between a statement's preparing and its execution."""
    connection = await address.read_address(url).connect("vms")
    await connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock})")
    if within:
        statement = b"\0SELECT 1\0" + struct.pack("!h", 0)
        parse = b"P" + struct.pack("!i", 4 + len(statement)) + statement
        connection._transport.write(parse + b"H\0\0\0\4")  # Parse and Flush, as asyncpg sends them
    return connection


async def hold_alone(database: Database, name: str) -> bool:
    """Try to hold the name; False where its lock did not come free in time."""
    try:
        async with database.transaction() as tx:
            await tx.execute(text("SET LOCAL lock_timeout = '200ms'"))
            await tx.alone(name)
    except DatabaseUnavailable:
        return False
    return True
