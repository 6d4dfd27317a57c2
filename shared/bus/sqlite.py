"""The log in one SQLite file: durable topics in segments, ephemeral ones in memory beside them.

One thread writes, with group commit: whatever waits goes into one transaction with `synchronous=FULL` and is
acknowledged together. The newest records are also kept in memory, so who keeps up never reads the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING

import msgspec
import structlog

from schemas.topics import TOPICS
from shared.bus.dead_letters import with_dead
from shared.bus.embedded import EmbeddedLog
from shared.bus.memory import PICTURES, MemoryStore, Ring
from shared.bus.port import Message, Offsets, Partition, Record
from shared.bus.segments import Row, Segments, read
from shared.errors import Setup, Transient

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.event import Topic

log = structlog.get_logger(__name__)

BUDGET = 20 * 1000**3  # bytes of records on disk
SEGMENT = 8 * 1024**2  # bytes
CACHED = 128  # newest records of each partition that are kept in memory
TIDY_EVERY = 30.0  # seconds
GROUP = 1_000  # most requests in one transaction
BUSY = 5_000  # milliseconds to wait for another's lock on the file

_ENCODER = msgspec.msgpack.Encoder()
Placed = Sequence[tuple[Partition, Message]]
Answer = tuple["asyncio.Future[list[int]]", list[int] | Exception]


@asynccontextmanager
async def open_sqlite(
    folder: Path,
    topics: Iterable[Topic] = TOPICS,
    *,
    budget: int = BUDGET,
    segment: int = SEGMENT,
    session: float = 10.0,
) -> AsyncIterator[EmbeddedLog]:
    """The log in `folder`/log.db; `budget` bounds the bytes that durable topics may take.

    Raises:
        Setup: another process has it open, or the file is no database.
    """
    known = with_dead(topics)
    store = await asyncio.to_thread(SqliteStore, folder, known, budget=budget, segment=segment)
    log = EmbeddedLog(store, known, session=session)
    try:
        yield log
    finally:
        await log.close()


class Request(msgspec.Struct):
    """What the writing thread is asked for: records to append, or a group's offsets to remember."""

    future: asyncio.Future[list[int]]
    placed: Placed = ()
    group: str = ""
    offsets: Offsets = {}


class SqliteStore:
    """A `Store` on a file, used from one event loop; offsets and the newest records are mirrored in memory."""

    def __init__(self, folder: Path, topics: Sequence[Topic], *, budget: int, segment: int) -> None:
        self._path = folder / "log.db"
        self._lock = _locked(folder)
        durable = [topic for topic in topics if topic.kind != "ephemeral"]
        self._durable = {topic.name for topic in durable}
        try:
            connection = _connect(self._path)
            self._segments = Segments(connection, durable, budget=budget, size=segment)
            self._segments.load(_now())
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise Setup(f"the log {self._path} cannot be opened: {_remedied(error)}") from error
        self._rings = {p: Ring(end, keep=CACHED) for p, end in self._segments.ends.items()}
        self._committed = self._segments.committed()
        # Offsets of ephemeral records begin at the time of day: they never come twice, also after a restart.
        ephemeral = [topic for topic in topics if topic.kind == "ephemeral"]
        self._memory = MemoryStore(ephemeral, PICTURES, start=_now())
        self._writer = Writer(connection, self._segments, self._deliver)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._connection = _connect(self._path)

    async def append(self, placed: Placed) -> Sequence[int]:
        """See `Store.append`."""
        if all(partition.topic not in self._durable for partition, _ in placed):
            return await self._memory.append(placed)
        if any(partition.topic not in self._durable for partition, _ in placed):
            return await self._append_mixed(placed)
        if any(message.picture is not None for _, message in placed):
            placed = await asyncio.to_thread(_encoded, placed)
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._writer.put(Request(future, placed=placed))
        return await future

    async def _append_mixed(self, placed: Placed) -> Sequence[int]:
        """Durable records first: what is dropped when that fails may be dropped anyway."""
        order = sorted(range(len(placed)), key=lambda n: placed[n][0].topic not in self._durable)
        durable = sum(partition.topic in self._durable for partition, _ in placed)
        found = dict.fromkeys(order, -1)
        for part in (order[:durable], order[durable:]):
            offsets = await self.append([placed[n] for n in part])
            found.update(zip(part, offsets, strict=True))
        return [found[n] for n in range(len(placed))]

    async def read(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """See `Store.read`."""
        if partition.topic not in self._durable:
            return await self._memory.read(partition, offset, limit)
        ring = self._rings[partition]
        if ring.oldest <= offset:
            return ring.read(offset, limit)
        chain = self._segments.chain(partition)
        loop = asyncio.get_running_loop()
        work = (self._connection, chain, offset, limit)
        return await loop.run_in_executor(self._reading, read, *work)

    def span(self, partition: Partition) -> tuple[int, int]:
        """See `Store.span`."""
        if partition.topic not in self._durable:
            return self._memory.span(partition)
        return self._segments.oldest(partition), self._rings[partition].end

    def committed(self, group: str, partition: Partition) -> int | None:
        """See `Store.committed`."""
        return self._committed.get((group, partition))

    async def commit(self, group: str, offsets: Offsets) -> None:
        """See `Store.commit`. Offsets of ephemeral topics mean nothing after a restart and are not written."""
        durable = {p: offset for p, offset in offsets.items() if p.topic in self._durable}
        if durable:
            future = asyncio.get_running_loop().create_future()
            self._writer.put(Request(future, group=group, offsets=durable))
            await future
        self._committed.update({(group, p): offset for p, offset in offsets.items()})

    async def close(self) -> None:
        """See `Store.close`."""
        await asyncio.to_thread(self._writer.close)
        self._reading.shutdown()
        self._connection.close()
        self._lock.close()

    def _deliver(self, answers: Sequence[Answer], records: Sequence[Record]) -> None:
        """Back in the event loop: first the mirror, then those who wait."""
        for record in records:
            self._rings[record.partition].append(record)
        for future, answer in answers:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class Writer:
    """The thread that writes. `deliver` is called in the event loop with the answers and what was appended."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        segments: Segments,
        deliver: Callable[[Sequence[Answer], Sequence[Record]], None],
    ) -> None:
        self._connection = connection
        self._segments = segments
        self._deliver = deliver
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Write this with whatever else waits."""
        self._requests.put(request)

    def close(self) -> None:
        """Write what waits, then end."""
        self._requests.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        tidy_at = time.monotonic()
        going = True
        while going:
            requests, going = self._next()
            self._write([r for r in requests if not r.future.cancelled()])
            if time.monotonic() >= tidy_at:
                self._tidy()
                tidy_at = time.monotonic() + TIDY_EVERY

    def _next(self) -> tuple[list[Request], bool]:
        """Everything that waits, up to a group; False with the last."""
        requests: list[Request] = []
        with suppress(Empty):
            request = self._requests.get(timeout=TIDY_EVERY)
            while request is not None and len(requests) < GROUP:
                requests.append(request)
                request = self._requests.get_nowait()
            if request is None:
                return requests, False
            requests.append(request)
        return requests, True

    def _write(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        rows, offsets = self._rows(requests)
        records: list[Record] = []
        answers: list[Answer]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for partition, new in rows.items():
                self._segments.insert(partition, [row for row, _ in new])
            for request in requests:
                self._segments.commit(request.group, request.offsets)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            failure = Transient(f"the log could not write: {error}; is there room on the disk?")
            answers = [(request.future, failure) for request in requests]
        else:
            answers = [(r.future, new) for r, new in zip(requests, offsets, strict=True)]
            for partition, new in rows.items():
                self._segments.inserted(partition, [row for row, _ in new])
                records += [_record(partition, row, message) for row, message in new]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            requests[0].future.get_loop().call_soon_threadsafe(self._deliver, answers, records)

    def _rows(
        self, requests: Sequence[Request]
    ) -> tuple[dict[Partition, list[tuple[Row, Message]]], list[list[int]]]:
        """What to insert where, and the offsets of each request's messages."""
        now = _now()
        rows: dict[Partition, list[tuple[Row, Message]]] = {}
        given: list[list[int]] = []
        for request in requests:
            given.append([])
            for partition, message in request.placed:
                new = rows.setdefault(partition, [])
                offset = self._segments.ends[partition] + len(new)
                headers = _ENCODER.encode(message.headers)
                new.append(((offset, message.key, message.value, headers, now), message))
                given[-1].append(offset)
        return rows, given

    def _tidy(self) -> None:
        try:
            self._segments.tidy(_now())
        except sqlite3.Error as error:
            self._undo()
            self._segments.load(_now())
            log.warning("log_not_tidied", reason=str(error))

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "PRAGMA wal_autocheckpoint = 4000"
    )  # pages: the last pages are written again and again
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


def _remedied(error: sqlite3.DatabaseError) -> str:
    """The error with what to do. The log holds what was acknowledged: to give it up is the last resort."""
    said = str(error)
    if "full" in said or "disk I/O" in said:
        return f"{said}; free some space and start again, nothing is lost"
    if "readonly" in said or "unable to open" in said:
        return f"{said}; give this user the right to write there"
    return f"{said}; restore it from a backup, or move it away to start anew without its events"


def _locked(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (folder / "log.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise Setup(
            f"the log in {folder} is open in another process; end that one,"
            " or let both use VANTAGE_BUS_URL=kafka://<host>:<port>"
        ) from error
    return lock


def _encoded(placed: Placed) -> Placed:
    """The same with pictures as JPEG: what lies on disk has no pixels."""
    return [
        (p, msgspec.structs.replace(m, value=m.picture.jpeg(), picture=None) if m.picture else m)
        for p, m in placed
    ]


def _record(partition: Partition, row: Row, message: Message) -> Record:
    offset, key, value, _, at = row
    return Record(
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        headers=message.headers,
        timestamp=at,
    )


def _now() -> int:
    return time.time_ns() // 1000
