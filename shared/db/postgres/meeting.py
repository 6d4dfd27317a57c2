"""The first meeting with a server at the start of a process: is it fit for us, and is our schema there and of today."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.db.migrate import migrate
from shared.db.postgres.complaints import words_for
from shared.db.postgres.frozen import end_frozen
from shared.db.postgres.locks import lock_number

if TYPE_CHECKING:
    from shared.db.postgres.address import Address

OLDEST = 13
PATIENCE_S = 20.0  # for a server that says itself that it is starting
MIGRATION_S = 600.0  # also for the processes that wait for the one that migrates
TABLE_S = (
    30  # for processes of the former version to let go of a table; who waits for it waits behind us
)
SKEW_S = 2.0  # two hosts then differ by less than a relay's lease has left when it is renewed

_FACTS = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS named,
       current_setting('server_encoding') AS encoding,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('synchronous_commit') AS durability,
       extract(epoch FROM clock_timestamp())::float8 AS now
"""


async def meet(address: Address, schema: str, migrations: str | None) -> None:
    """Look at the server, and bring the schema to the state of this code. Many processes may do so at once.

    Raises:
        Setup: it is away, refuses us, is too old, read-only or not UTF-8, its clock is another, or the schema
            is ahead of this code.
    """
    try:
        await _look(address, schema)
        await _bring_on(address, schema, migrations)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError) as error:
        words = words_for(error)
        if words is None:
            raise
        raise address.setup(words) from error


async def _look(address: Address, schema: str) -> None:
    connection = await _connected(address, schema)
    try:
        asked = time.time()
        facts = await connection.fetchrow(_FACTS)
        answered = time.time()
        await end_frozen(connection)  # it may hold the schema's migration up
    finally:
        await connection.close(timeout=2)
    if facts["version"] < OLDEST * 10_000:
        raise address.setup(
            f"PostgreSQL {facts['named']} is too old; {OLDEST} is the oldest that works"
        )
    if facts["encoding"] != "UTF8":
        raise address.setup(
            f"its encoding is {facts['encoding']}; make it anew: "
            "CREATE DATABASE name OWNER user ENCODING 'UTF8' TEMPLATE template0"
        )
    if facts["read_only"]:
        raise address.setup(
            "it is read-only: a standby, or default_transaction_read_only is on; name the primary"
        )
    if facts["durability"] == "off":
        raise address.setup(
            "synchronous_commit is off: what was committed may be lost; "
            "ALTER DATABASE name SET synchronous_commit = on"
        )
    _same_time(address, facts["now"], asked, answered)


def _same_time(address: Address, theirs: float, asked: float, answered: float) -> None:
    """Hold that the server's clock lies within `SKEW_S` of the time in which we asked."""
    off = max(asked - theirs, theirs - answered)
    if off > SKEW_S:
        raise address.setup(
            f"its clock and ours are {off:.0f} s apart; leases need them together: "
            "set both by NTP (timedatectl set-ntp true)"
        )


async def _connected(address: Address, schema: str) -> asyncpg.Connection:
    """A connection; a server that says it is starting is waited for."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await address.connect(schema)
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.2)


async def _bring_on(address: Address, schema: str, migrations: str | None) -> None:
    """Make and migrate the schema in one transaction, one process after the other.

    A process killed in the middle leaves the old schema, whole, and the lock is free.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: address.connect(schema, statement_s=MIGRATION_S, lock_s=MIGRATION_S),
        poolclass=NullPool,
    )
    try:
        async with engine.begin() as connection:
            lock = {"lock": lock_number(schema, "migrate")}
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), lock)
            await connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_S}s'"))
            there = text("SELECT to_regnamespace(:name) IS NOT NULL")
            if not await connection.scalar(there, {"name": schema}):
                await connection.execute(text(f'CREATE SCHEMA "{schema}"'))
            await connection.run_sync(migrate, service=schema, migrations=migrations)
    finally:
        await engine.dispose()
