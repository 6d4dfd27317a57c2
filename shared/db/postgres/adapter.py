"""The adapter: two pools a service, one for writing and one for reading, and what PostgreSQL does in its own way."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, ClassVar

import asyncpg
from sqlalchemy import ARRAY, BigInteger, bindparam, event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.db.engine import Database, DatabaseUnavailable
from shared.db.postgres.address import read_address
from shared.db.postgres.breaker import Breaker
from shared.db.postgres.complaints import AWAY, LOCKED, read_complaint, state_of
from shared.db.postgres.ears import listening
from shared.db.postgres.frozen import end_frozen
from shared.db.postgres.locks import lock_number, stripe
from shared.db.postgres.meeting import meet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from shared.clock import Clock
    from shared.db.postgres.address import Address
    from shared.errors import VantageError

POOL = 10
POOL_WAIT_S = 2.0
PING_AFTER_S = 5.0  # a connection that was used a moment ago need not be asked
PING_S = 3.0
ALIVE = "SELECT 1"  # an empty statement would do, but trips asyncpg

_ALONE = text("SELECT pg_advisory_xact_lock(:lock)").bindparams(bindparam("lock", type_=BigInteger))
_FILLING = text(
    "SELECT pg_notify(:channel, ''), "
    "(SELECT count(pg_advisory_xact_lock(lock)) FROM unnest(:locks) AS lock)"
).bindparams(bindparam("locks", type_=ARRAY(BigInteger)))


@asynccontextmanager
async def open_postgres(
    url: str,
    *,
    service: str,
    clock: Clock,
    migrations: str | None = None,
    pool: int = POOL,
) -> AsyncIterator[Database]:
    """Open the schema of a service, made and migrated where needed, in the database that the URL names.

    url: `postgresql+asyncpg://user:password@host:port/database?sslmode=...` (see `address`).
    migrations: dotted name of the service's Alembic package; None: it has the platform's tables alone.
    pool: connections at most, four in ten of them for reading. Whoever listens takes one more.

    Raises:
        Setup: URL, server, account or schema do not allow it; names VANTAGE_DB_URL without the password.
    """
    address = read_address(url)
    await meet(address, service, migrations)
    adapter = Postgres(address, service, pool)
    try:
        yield Database(service, adapter, clock=clock)
    finally:
        await adapter.reader.dispose()
        await adapter.writer.dispose()


class Postgres:
    """One schema of one database. Writers stand beside each other in READ COMMITTED."""

    errors: ClassVar[tuple[type[Exception], ...]] = (
        SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        OSError,
    )

    def __init__(self, address: Address, schema: str, pool: int) -> None:
        readers = max(1, pool * 4 // 10)
        self._address = address
        self._schema = schema
        self._channel = f"vantage_{schema}_outbox"
        self._breaker = Breaker(time.monotonic)
        self._ending = asyncio.Lock()
        self.writer = _engine(address, schema, max(1, pool - readers))
        # Reading holds no lock on its moment: no write can make it fail, and it makes none fail.
        self.reader = _engine(address, schema, readers, isolation="REPEATABLE READ")
        for engine in (self.writer, self.reader):
            event.listen(engine.sync_engine, "checkin", self._returned)

    def admit(self) -> None:
        """Refuse at once while the server does not answer, but for one caller a second."""
        if not self._breaker.admits():
            raise DatabaseUnavailable(
                f"the database {self._address.shown}: {AWAY}; it is asked again in a second",
                retry_after=1,
            )

    def complaint(self, error: Exception) -> VantageError | None:
        """The error in plain words with its remedy, or None where the statement itself is wrong."""
        if isinstance(error, OSError):
            self._breaker.failed()
        return read_complaint(error, self._address.shown)

    async def follow_up(self, error: Exception, connection: AsyncConnection) -> None:
        """Cut a connection that did not answer; end who froze, where a lock did not come free."""
        if isinstance(error, OSError):  # a time-out is one
            await _cut(connection)
        elif state_of(error) == LOCKED:
            await self._end_frozen()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """All may write at once."""
        return nullcontext()

    async def alone(self, connection: AsyncConnection, name: str) -> None:
        """Hold the name by an advisory lock, which ends with the transaction."""
        await connection.execute(_ALONE, {"lock": lock_number(self._schema, f"alone/{name}")})

    async def filling(self, connection: AsyncConnection, places: Sequence[str]) -> None:
        """Hold the places by advisory locks, in one order for all, and notify at the commit."""
        stripes = {f"outbox/{stripe(place)}" for place in places}
        locks = sorted(lock_number(self._schema, name) for name in stripes)
        await connection.execute(_FILLING, {"channel": self._channel, "locks": locks})

    async def _end_frozen(self) -> None:
        """On one connection of its own: the pool's may all wait for that lock."""
        if self._ending.locked():
            return
        async with self._ending:
            with suppress(*self.errors):
                connection = await self._address.connect(self._schema)
                try:
                    await end_frozen(connection)
                finally:
                    connection.terminate()

    def _returned(self, connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        """A connection comes back to the pool; None: it was cut."""
        if connection is not None:
            record.info["used_at"] = time.monotonic()
            self._breaker.worked()

    def listening(self, filled: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """Hear NOTIFY on a connection of its own."""
        return listening(self._address, self._schema, self._channel, filled)


def _engine(
    address: Address, schema: str, size: int, *, isolation: str = "READ COMMITTED"
) -> AsyncEngine:
    kept = max(1, size // 2)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: address.connect(schema),
        isolation_level=isolation,
        execution_options={"postgresql_readonly": isolation != "READ COMMITTED"},
        pool_size=kept,
        max_overflow=size - kept,
        pool_timeout=POOL_WAIT_S,
        pool_use_lifo=True,  # what is not needed falls idle
    )
    event.listen(engine.sync_engine, "checkout", _alive)
    return engine


async def _cut(connection: AsyncConnection) -> None:
    """Cut it without a word to the server: it would not hear it."""
    if connection.invalidated or connection.closed:
        return
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is not None:
        driver.terminate()
    await connection.invalidate()


def _alive(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Serve no dead connection: its socket must stand, and after a pause the server must answer.

    Raises:
        DisconnectionError: the pool makes a new one instead.
    """
    driver = record.driver_connection
    if driver is None or driver.is_closed():
        raise DisconnectionError("the server closed it")
    if time.monotonic() - record.info.get("used_at", time.monotonic()) < PING_AFTER_S:
        return
    sound = False
    try:
        connection.run_async(lambda driver: driver.execute(ALIVE, timeout=PING_S))
        sound = True
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DisconnectionError(str(error)) from error
    finally:
        if not sound:  # cancelled, too: its answer may still come
            driver.terminate()
