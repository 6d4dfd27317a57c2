"""A service's database: one writer, snapshot readers, and the unit of work that carries rows and events together.

What the words mean:
- A *transaction* is the only way to write. It is committed when its block ends and rolled back when the block
  raises; whatever `add` and `fresh` did is part of it.
- Transactions of one process follow each other: keep them short and await nothing in them but the database.
- A *read* sees one moment of the database and holds nobody up.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from shared.db import inbox, outbox
from shared.errors import Transient, Unavailable
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from sqlalchemy import CursorResult, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from schemas.event import Envelope
    from shared.clock import Clock

    Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

WRITER_WAIT_S = 10.0


class DatabaseUnavailable(Unavailable, Transient):
    """The database cannot take this now: HTTP answers 503, the bus engine tries again."""

    code = "database_unavailable"


class Complaints(Protocol):
    """Reads the driver's errors."""

    def __call__(self, error: DBAPIError) -> DatabaseUnavailable | None:
        """The error in plain words with its remedy, or None where it is the statement's own fault."""
        ...


class Reader:
    """A view of the database at one moment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run one statement; a sequence of parameters runs it for each of them in one go."""
        return await self._connection.execute(statement, parameters)


class Transaction(Reader):
    """A unit of work: rows, outbox and inbox become true together or not at all."""

    def __init__(self, connection: AsyncConnection, clock: Clock) -> None:
        super().__init__(connection)
        self._clock = clock
        self._after_commit: list[Callable[[], None]] = []
        self.says = False  # whether it put events in the outbox

    async def add(self, envelopes: Sequence[Envelope]) -> None:
        """Put events in the outbox: they are on the log some time after the commit, in this order per key."""
        if envelopes:
            await self.execute(outbox.INSERT, outbox.rows(envelopes, at=self._clock.now()))
            self.says = True

    async def fresh(self, consumer: str, ids: Sequence[str]) -> set[str]:
        """Mark event ids as seen by `consumer`; returns those that it had not seen before."""
        if not ids:
            return set()
        seen = inbox.rows(consumer, ids, at=self._clock.now())
        result = await self.execute(inbox.INSERT, seen)
        return {row.event_id for row in result}

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the commit is done; never when it is rolled back."""
        self._after_commit.append(call)

    def committed(self) -> None:
        """For the database alone: the commit is done."""
        for call in self._after_commit:
            call()


class PoolUse(NamedTuple):
    """Connections of a pool: lent out, open and free, and how many there may be."""

    in_use: int
    idle: int
    limit: int


class Database:
    """One service's database, opened by `shared.db.sqlite.open_sqlite`.

    `outbox_filled` is set after each commit that added events; the relay waits for it.
    """

    def __init__(
        self,
        service: str,
        *,
        writer: AsyncEngine,
        reader: AsyncEngine,
        clock: Clock,
        complaints: Complaints,
    ) -> None:
        self.service = service
        self.clock = clock
        self.outbox_filled = asyncio.Event()
        self._writer = writer
        self._reader = reader
        self._complaints = complaints
        self._gate = _Gate(service)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One unit of work.

        Raises:
            DatabaseUnavailable: disk full, read-only, or no turn to write within 10 s; nothing was written.
            sqlalchemy.exc.IntegrityError: a constraint refused a row; nothing was written.
        """
        async with self._plain_words(), self._gate.turn(), self._writer.connect() as connection:
            await connection.begin()
            transaction = Transaction(connection, self.clock)
            yield transaction
            await _to_its_end(self._commit(connection, transaction))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Reader]:
        """A snapshot to read from; writing in it is refused."""
        async with self._plain_words(), self._reader.connect() as connection:
            await connection.begin()
            yield Reader(connection)

    async def check(self) -> Health:
        """Whether it answers; for `/health`."""
        try:
            async with self.read() as reader:
                await reader.execute(text("SELECT 1"))
        except DatabaseUnavailable as error:
            return Health(status="unhealthy", reason=str(error))
        return Health(status="healthy")

    def pools(self) -> dict[str, PoolUse]:
        """What the connections are doing, by pool; for the metrics, from any thread."""
        named = {"writer": self._writer}
        if self._reader is not self._writer:
            named["reader"] = self._reader
        return {
            name: _use(engine.pool)
            for name, engine in named.items()
            if isinstance(engine.pool, QueuePool)
        }

    async def _commit(self, connection: AsyncConnection, transaction: Transaction) -> None:
        await connection.commit()
        transaction.committed()
        if transaction.says:
            self.outbox_filled.set()

    @asynccontextmanager
    async def _plain_words(self) -> AsyncIterator[None]:
        try:
            yield
        except DBAPIError as error:
            complaint = self._complaints(error)
            if complaint is None:
                raise
            raise complaint from error


class _Gate:
    """One writer at a time within the process, in the order of asking."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task is not None and self._holder is task:
            raise RuntimeError("a transaction within a transaction would wait for itself for ever")
        await self._acquire()
        self._holder = task
        try:
            yield
        finally:
            self._holder = None
            self._lock.release()

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(WRITER_WAIT_S):
                await self._lock.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                f"the database of {self._service} gave no turn to write within {WRITER_WAIT_S:g} s; "
                "try again, and look for a transaction that waits for something else"
            ) from error


def _use(pool: QueuePool) -> PoolUse:
    # SQLAlchemy tells the overflow in use but not the most that it allows.
    limit = pool.size() + max(0, pool._max_overflow)
    return PoolUse(pool.checkedout(), pool.checkedin(), limit)


async def _to_its_end(commit: Coroutine[Any, Any, None]) -> None:
    """Await a commit to its end even when we are cancelled meanwhile: half-known is worse than late."""
    task = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
