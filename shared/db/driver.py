"""aiosqlite with one visit to its thread a statement.

A statement through aiosqlite visits the connection's thread four times: make a cursor, execute, fetch, close.
Each visit costs two switches between threads. Here a statement and all its rows are one visit.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path


async def connect(file: Path, *, busy_timeout_s: float) -> Connection:
    """Open a file. The driver begins no transaction by itself."""

    def open_file() -> sqlite3.Connection:
        return sqlite3.connect(
            file, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )

    connection = Connection(open_file, iter_chunk_size=64)
    connection._thread.daemon = True  # a process that must end does not wait for a slow disk
    await connection
    return connection


class Connection(aiosqlite.Connection):
    """A connection whose cursors fetch at once."""

    def cursor(self) -> Cursor:  # type: ignore[override] # SQLAlchemy enters what it is given
        """A cursor; nothing is asked of the thread yet."""
        return Cursor(self)

    async def visit(self, call: Callable[[sqlite3.Connection], Cursor]) -> Cursor:
        """Run `call` on the connection's own thread."""
        visit: Callable[..., Awaitable[Cursor]] = self._execute
        return await visit(call, self._conn)


class Cursor:
    """A cursor as SQLAlchemy's asyncio adapter uses it: everything is known once `execute` returns."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Sequence[Any] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Cursor:
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Cursor:
        """Execute a statement and take all its rows."""
        return await self._connection.visit(
            lambda connection: self._take(connection.execute(sql, tuple(parameters)))
        )

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Cursor:
        """Execute a statement once for each set of parameters."""
        return await self._connection.visit(
            lambda connection: self._take(connection.executemany(sql, parameters))
        )

    async def fetchall(self) -> list[Any]:
        """The rows."""
        return self._rows

    async def close(self) -> None:
        """Forget the rows."""
        self._rows = []

    def _take(self, cursor: sqlite3.Cursor) -> Cursor:
        self.description = cursor.description
        self._rows = cursor.fetchall() if cursor.description else []
        self.rowcount = cursor.rowcount  # complete only once the rows are fetched
        self.lastrowid = cursor.lastrowid
        cursor.close()
        return self
