"""The log in memory: for unit tests, `analyze`, and the ephemeral topics of the embedded log."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from schemas.event import Topic
from schemas.topics import TOPICS
from shared.bus.dead_letters import with_dead
from shared.bus.embedded import EmbeddedLog
from shared.bus.port import Message, Offsets, Partition, Record

PICTURES = 8  # of each key, in an ephemeral topic
MARKS = 1_024  # records of any kind, in a partition of an ephemeral topic


@asynccontextmanager
async def open_memory(
    topics: Iterable[Topic] = TOPICS, *, pictures: int | None = PICTURES, session: float = 10.0
) -> AsyncIterator[EmbeddedLog]:
    """A log that is gone when it is closed. `pictures`: how many of each key are kept, None keeps all."""
    known = with_dead(topics)
    log = EmbeddedLog(MemoryStore(known, pictures), known, session=session)
    try:
        yield log
    finally:
        await log.close()


class Ring:
    """Records of one partition, newest at the end; `start` is the first offset it gives out.

    With `pictures` it is ephemeral: of each key only so many pictures are kept, the newest; stream marks between
    them stay until there are too many records at all. With `keep` it holds only that many of the newest records.
    """

    def __init__(
        self, start: int = 0, *, pictures: int | None = None, keep: int | None = None
    ) -> None:
        self.end = start
        self._records: list[Record] = []
        self._pictures = pictures
        self._keep = keep
        self._counts: Counter[str | None] = Counter()

    @property
    def oldest(self) -> int:
        """The first offset that is kept; the end when nothing is."""
        return self._records[0].offset if self._records else self.end

    def append(self, record: Record) -> None:
        """Take a record in; older ones may go."""
        self._records.append(record)
        self.end = record.offset + 1
        if self._pictures is not None and record.picture is not None:
            self._make_room(record.key, self._pictures)
        if self._keep is not None and len(self._records) > 2 * self._keep:
            del self._records[: -self._keep]

    def read(self, offset: int, limit: int) -> Sequence[Record]:
        """Up to `limit` records from `offset` on."""
        first = bisect_left(self._records, offset, key=_offset)
        return self._records[first : first + limit]

    def _make_room(self, key: str | None, pictures: int) -> None:
        self._counts[key] += 1
        if self._counts[key] <= pictures:
            return
        self._counts[key] -= 1
        for index, record in enumerate(self._records):
            if record.key == key and record.picture is not None:
                del self._records[index]
                return


class MemoryStore:
    """A `Store` of rings, whose offsets begin at `start`."""

    def __init__(self, topics: Iterable[Topic], pictures: int | None, start: int = 0) -> None:
        self._committed: dict[tuple[str, Partition], int] = {}
        self._rings: dict[Partition, Ring] = {}
        for topic in topics:
            newest_only = topic.kind == "ephemeral" and pictures is not None
            for number in range(topic.partitions):
                ring = Ring(start, pictures=pictures, keep=MARKS) if newest_only else Ring(start)
                self._rings[Partition(topic.name, number)] = ring

    async def append(self, placed: Sequence[tuple[Partition, Message]]) -> Sequence[int]:
        """See `Store.append`."""
        now = time.time_ns() // 1000
        offsets = []
        for partition, message in placed:
            ring = self._rings[partition]
            offsets.append(ring.end)
            value = b"" if message.picture is not None else message.value
            ring.append(
                Record(
                    partition=partition,
                    offset=ring.end,
                    key=message.key,
                    value=value,
                    headers=message.headers,
                    timestamp=now,
                    picture=message.picture,
                )
            )
        return offsets

    async def read(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """See `Store.read`."""
        return self._rings[partition].read(offset, limit)

    def span(self, partition: Partition) -> tuple[int, int]:
        """See `Store.span`."""
        ring = self._rings[partition]
        return ring.oldest, ring.end

    def committed(self, group: str, partition: Partition) -> int | None:
        """See `Store.committed`."""
        return self._committed.get((group, partition))

    async def commit(self, group: str, offsets: Offsets) -> None:
        """See `Store.commit`."""
        for partition, offset in offsets.items():
            self._committed[group, partition] = offset

    async def close(self) -> None:
        """See `Store.close`."""


def _offset(record: Record) -> int:
    return record.offset
