"""A service's database: snapshot readers, and the unit of work that carries rows and events together.

What the words mean:
- A *transaction* is the only way to write. It is committed when its block ends and rolled back when the block
  raises; whatever `add` and `fresh` did is part of it.
- Transactions stand beside each other (PostgreSQL, READ COMMITTED) or follow each other (SQLite); which of the
  two, nobody may rely on. Whoever looks first and writes then holds `alone(name)` between the two. Keep
  transactions short and await nothing in them but the database.
- A *read* sees one moment of the database and holds nobody up.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from shared.db import inbox, outbox
from shared.errors import Invalid, Poison, Transient, Unavailable
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterator,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import CursorResult, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from schemas.event import Envelope
    from shared.clock import Clock
    from shared.errors import VantageError

    Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

Answer = TypeVar("Answer")


LATELY_S = 15.0


class DatabaseUnavailable(Unavailable, Transient):
    """The database cannot take this now: HTTP answers 503, the bus engine tries again."""

    code = "database_unavailable"


class Unwritable(DatabaseUnavailable):
    """It takes nothing now: its disk is full, or it is read-only. What it has can be read."""


class Unstorable(Invalid, Poison):
    """A value that the database cannot hold: HTTP answers 422, the bus engine sets the record aside."""

    code = "unstorable"


class Adapter(Protocol):
    """What each kind of database does in its own way."""

    writer: AsyncEngine
    reader: AsyncEngine
    errors: ClassVar[tuple[type[Exception], ...]]  # what its driver raises, for `complaint`

    def admit(self) -> None:
        """Let a caller ask the database.

        Raises:
            DatabaseUnavailable: at once, where it has not answered for a while and others are trying.
        """
        ...

    def complaint(self, error: Exception) -> VantageError | None:
        """The error in plain words with its remedy, or None where it is the statement's own fault."""
        ...

    async def follow_up(self, error: Exception, connection: AsyncConnection) -> None:
        """Do what an error on a connection asks for, before it is raised.

        A connection that did not answer is cut: whatever it still says is for nobody. A lock that did not come free
        is taken from a process that froze.
        """
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Where one may write at a time: wait for that turn, and keep it for the block.

        Raises:
            DatabaseUnavailable: it did not come in time.
        """
        ...

    async def alone(self, connection: AsyncConnection, name: str) -> None:
        """Hold `name` against all other transactions on this database until this one ends."""
        ...

    async def filling(self, connection: AsyncConnection, places: Sequence[str]) -> None:
        """Events of these places (topic and key) are about to be put in the outbox.

        From here to the commit no other transaction adds to the same places, so that the rows of a key become
        true in the order of their ids; and the commit will wake whoever listens.
        """
        ...

    def listening(self, filled: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """Set `filled` whenever any process has filled the outbox, as far as one can be told."""
        ...


class Reader:
    """A view of the database at one moment."""

    def __init__(self, connection: AsyncConnection, adapter: Adapter) -> None:
        self._connection = connection
        self._adapter = adapter

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run one statement; a sequence of parameters runs it for each of them in one go."""
        asked = self._connection.execute(statement, parameters)
        return await _plainly(self._adapter, asked, self._connection)


class Transaction(Reader):
    """A unit of work: rows, outbox and inbox become true together or not at all."""

    def __init__(self, connection: AsyncConnection, adapter: Adapter, clock: Clock) -> None:
        super().__init__(connection, adapter)
        self._clock = clock
        self._after_commit: list[Callable[[], None]] = []
        self.says = False  # whether it put events in the outbox

    async def add(self, envelopes: Sequence[Envelope]) -> None:
        """Put events in the outbox: they are on the log some time after the commit.

        The events of a key come in the order in which they were added and their transactions committed; whoever
        adds to a key that another transaction has added to waits for its end. Between keys there is no order.
        """
        if envelopes:
            places = sorted({f"{envelope.topic}/{envelope.key}" for envelope in envelopes})
            asked = self._adapter.filling(self._connection, places)
            await _plainly(self._adapter, asked, self._connection)
            await self.execute(outbox.INSERT, outbox.rows(envelopes, at=self._clock.now()))
            self.says = True

    async def alone(self, name: str) -> None:
        """Let no other transaction of this service past its own `alone(name)` until this one ends.

        For decisions that follow from what was read: read after this, not before.

        Raises:
            DatabaseUnavailable: another transaction kept it too long.
        """
        asked = self._adapter.alone(self._connection, name)
        await _plainly(self._adapter, asked, self._connection)

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
    """One service's database, opened by an adapter (`shared.db.sqlite`, `shared.db.postgres`).

    `outbox_filled` is set after each commit of this process that added events, and within `listening` after
    those of others too; the relay waits for it.
    """

    def __init__(self, service: str, adapter: Adapter, *, clock: Clock) -> None:
        self.service = service
        self.clock = clock
        self.outbox_filled = asyncio.Event()
        self._adapter = adapter
        self._writing: set[asyncio.Task[Any] | None] = set()
        self._refused: tuple[float, str] | None = (
            None  # when it last took nothing (monotonic), and why
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One unit of work.

        Raises:
            DatabaseUnavailable: it is away, full, read-only, out of connections or turns to write, or another
                transaction was in the way. Nothing was written; where the answer to the commit itself was lost
                this is not known, and the same work is done again with the same ids.
            Unstorable: a value that it cannot hold; nothing was written.
            sqlalchemy.exc.IntegrityError: a constraint refused a row; nothing was written.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self._no_other())
            await stack.enter_async_context(self._adapter.turn())
            connection = await self._connected(self._adapter.writer, stack)
            transaction = Transaction(connection, self._adapter, self.clock)
            try:
                yield transaction
                await _to_its_end(self._commit(connection, transaction))
            except Unwritable as error:
                self._refused = self.clock.monotonic(), str(error)
                raise

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Reader]:
        """A snapshot to read from; writing in it is refused.

        Raises:
            DatabaseUnavailable: it is away, busy, or the answer took too long.
        """
        async with AsyncExitStack() as stack:
            yield Reader(await self._connected(self._adapter.reader, stack), self._adapter)

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Within it `outbox_filled` is also set for the commits of other processes, as soon as we hear of them."""
        return self._adapter.listening(self.outbox_filled)

    async def check(self) -> Health:
        """Whether it answers, and has refused no transaction lately because it cannot write; for `/health`."""
        try:
            async with self.read() as reader:
                await reader.execute(text("SELECT 1"))
        except DatabaseUnavailable as error:
            return Health(status="unhealthy", reason=str(error))
        if self._refused is not None and self.clock.monotonic() - self._refused[0] < LATELY_S:
            return Health(status="degraded", reason=self._refused[1])
        return Health(status="healthy")

    def pools(self) -> dict[str, PoolUse]:
        """What the connections are doing, by pool; for the metrics, from any thread."""
        writer, reader = self._adapter.writer, self._adapter.reader
        named = {"writer": writer} if reader is writer else {"writer": writer, "reader": reader}
        return {
            name: _use(engine.pool)
            for name, engine in named.items()
            if isinstance(engine.pool, QueuePool)
        }

    async def _connected(self, engine: AsyncEngine, stack: AsyncExitStack) -> AsyncConnection:
        self._adapter.admit()
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        borrowed = stack.enter_async_context(self._borrowed(engine))
        connection = await _plainly(self._adapter, borrowed)
        if task and task.cancelling() > asked:
            raise asyncio.CancelledError  # the pool waits by wait_for, which loses it in Python 3.11
        await _plainly(self._adapter, connection.begin(), connection)
        return connection

    @asynccontextmanager
    async def _borrowed(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool. One that breaks on its way back is the pool's business alone."""
        connection = await engine.connect()
        try:
            yield connection
        finally:
            with suppress(*self._adapter.errors):
                await asyncio.shield(asyncio.create_task(connection.close()))

    async def _commit(self, connection: AsyncConnection, transaction: Transaction) -> None:
        await _plainly(self._adapter, connection.commit(), connection)
        transaction.committed()
        if transaction.says:
            self.outbox_filled.set()

    @contextmanager
    def _no_other(self) -> Iterator[None]:
        """Hold that this task is in no transaction already."""
        task = asyncio.current_task()
        if task in self._writing:
            raise RuntimeError("a transaction within a transaction would wait for itself for ever")
        self._writing.add(task)
        try:
            yield
        finally:
            self._writing.discard(task)


async def _plainly(
    adapter: Adapter, asked: Awaitable[Answer], connection: AsyncConnection | None = None
) -> Answer:
    """Await the database's answer; what its driver raises is said in plain words."""
    try:
        return await asked
    except adapter.errors as error:
        if connection is not None:
            await adapter.follow_up(error, connection)
        complaint = adapter.complaint(error)
        if complaint is None:
            raise
        raise complaint from error


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
        if not task.cancelled():
            task.exception()  # whether it failed is for nobody: the caller has left
        raise
