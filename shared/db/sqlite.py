"""SQLite files as databases: one file a service, WAL, one writer, every commit on disk before it returns."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import URL, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from shared.db.driver import connect
from shared.db.engine import Database, DatabaseUnavailable, Unstorable, Unwritable
from shared.db.migrate import migrate
from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from shared.clock import Clock
    from shared.errors import VantageError

READERS = 4
BUSY_TIMEOUT_MS = 5000
WRITER_WAIT_S = 10.0
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA journal_size_limit={64 * 2**20}",
)
_COMPLAINTS = (
    ("database or disk is full", "the disk is full; free some space"),
    ("disk i/o error", "the disk answers with errors or is full; look at the system's log"),
    ("readonly database", "the file or its folder is read-only; give this user the right to write"),
    (
        "unable to open database file",
        "the file cannot be opened; look at the folder's rights and space",
    ),
    (
        "database is locked",
        "another process is writing to it; only one server may use a data folder",
    ),
    ("malformed", "the file is damaged; restore it from a backup"),
    ("not a database", "the file is no SQLite database; move it away or restore it from a backup"),
)

_UNWRITABLE = frozenset(words for _, words in _COMPLAINTS[:3])


@asynccontextmanager
async def open_sqlite(
    url: str, *, service: str, clock: Clock, migrations: str | None = None
) -> AsyncIterator[Database]:
    """Open (and make and migrate, where needed) the file of a service in the folder that the URL names.

    url: `sqlite+aiosqlite:///<folder>`.
    migrations: dotted name of the service's Alembic package; None: it has the platform's tables alone.

    Raises:
        Setup: the URL, the folder or the file does not allow it, or the file was written by a newer Vantage.
    """
    file = _file(url, service)
    adapter = Sqlite(file)
    try:
        await _prepare(adapter.writer, file, service, migrations)
        yield Database(service, adapter, clock=clock)
    finally:
        await adapter.reader.dispose()
        await adapter.writer.dispose()


def _file(url: str, service: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Setup(f"VANTAGE_DB_URL={url!r} is no URL; try sqlite+aiosqlite:///var/db") from error
    if parsed.drivername != "sqlite+aiosqlite" or not parsed.database:
        raise Setup(
            f"VANTAGE_DB_URL={url!r} names no folder; write sqlite+aiosqlite:///<folder> "
            "(four slashes before an absolute one)"
        )
    folder = Path(parsed.database)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Setup(
            f"VANTAGE_DB_URL: no folder can be made at {folder}: {error.strerror}"
        ) from error
    return folder / f"{service}.db"


def _engine(file: Path, *, begin: str, size: int, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(file)),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        pool_reset_on_return=None,  # every transaction of ours is ended by its block
        async_creator=lambda: connect(file, busy_timeout_s=BUSY_TIMEOUT_MS / 1000),
    )

    def connected(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS if query_only else ("PRAGMA journal_mode=WAL", *_PRAGMAS):
            cursor.execute(pragma)
        cursor.execute(f"PRAGMA query_only={int(query_only)}")
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)
    return engine


async def _prepare(writer: AsyncEngine, file: Path, service: str, migrations: str | None) -> None:
    """Migrate in one transaction: a process killed in the middle leaves the old schema, whole."""
    try:
        async with writer.begin() as connection:
            await connection.run_sync(migrate, service=service, migrations=migrations)
    except DBAPIError as error:
        words = _words(error)
        if words is None:
            raise
        raise Setup(f"the database {file} cannot be used: {words}") from error


class Sqlite:
    """One file: one writer at a time within the process, in the order of asking, and readers beside it."""

    errors: ClassVar[tuple[type[Exception], ...]] = (DBAPIError, UnicodeEncodeError, OverflowError)

    def __init__(self, file: Path) -> None:
        self.writer = _engine(file, begin="BEGIN IMMEDIATE", size=1, query_only=False)
        self.reader = _engine(file, begin="BEGIN", size=READERS, query_only=True)
        self._file = file
        self._gate = asyncio.Lock()

    def admit(self) -> None:
        """A file always answers: nothing."""

    def complaint(self, error: Exception) -> VantageError | None:
        """The error in plain words with its remedy, or None where the statement itself is wrong."""
        if isinstance(error, UnicodeEncodeError):
            return Unstorable(
                "a text holds half a surrogate pair, which is no character; remove it"
            )
        if isinstance(error, OverflowError):
            return Unstorable("a number does not fit into 64 bits; send a smaller one")
        words = _words(error)
        if words is None:
            return None
        kind = Unwritable if words in _UNWRITABLE else DatabaseUnavailable
        return kind(f"the database {self._file}: {words}")

    async def follow_up(self, error: Exception, connection: AsyncConnection) -> None:
        """A file always answers, and whom its lock belongs to cannot be told: nothing."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn to write."""
        try:
            async with asyncio.timeout(WRITER_WAIT_S):
                await self._gate.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                f"the database {self._file} gave no turn to write within {WRITER_WAIT_S:g} s; "
                "try again, and look for a transaction that waits for something else"
            ) from error
        try:
            yield
        finally:
            self._gate.release()

    async def alone(self, connection: AsyncConnection, name: str) -> None:
        """Whoever writes is alone already: nothing."""

    async def filling(self, connection: AsyncConnection, places: Sequence[str]) -> None:
        """Ids are given in the order of the commits, and who is in this process is woken by the commit: nothing."""

    def listening(self, filled: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """A file tells nobody of other processes: the relay's poll finds their events."""
        return nullcontext()


def _words(error: Exception) -> str | None:
    said = str(getattr(error, "orig", error)).lower()
    return next((words for sign, words in _COMPLAINTS if sign in said), None)
