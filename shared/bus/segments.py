"""The layout of the SQLite log: each partition is a chain of segments, each segment a table.

The offset is the table's rowid, so that appending always extends its rightmost page, and what is too old is dropped as
a whole table. The last segment of a partition takes what is appended and is never dropped, so offsets never go back.
All calls come from the one writing thread, except `read`.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from schemas.cloudevents import Headers
from schemas.event import Topic
from shared.bus.port import Offsets, Partition, Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS segments(
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
  first INTEGER NOT NULL, opened INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS commits(
  member_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY(member_group, topic, partition)) WITHOUT ROWID;
"""
ROW_BYTES = 64  # what a record costs beside key, value and headers
HOUR = 3_600_000_000  # microseconds
TOMBSTONES_KEPT = 24 * HOUR  # long enough for every table that is being read

Row = tuple[int, str | None, bytes | None, bytes, int]  # offset, key, value, headers, time
_HEADERS = msgspec.msgpack.Decoder(Headers)


class Segment(msgspec.Struct):
    """Consecutive records of one partition, from offset `first` on; `opened` in microseconds UTC."""

    id: int
    partition: Partition
    first: int
    opened: int
    bytes: int = 0

    @property
    def table(self) -> str:
        """Its table's name."""
        return f"segment_{self.id}"


class Segments:
    """All segments of a log file. `budget` bounds the bytes of durable topics, `size` those of one segment."""

    def __init__(
        self, connection: sqlite3.Connection, topics: Iterable[Topic], *, budget: int, size: int
    ) -> None:
        self.ends: dict[Partition, int] = {}
        self._connection = connection
        self._budget = budget
        self._size = size
        self._topics = {topic.name: topic for topic in topics}
        self._chains: dict[Partition, list[Segment]] = {}
        self._dirty: set[Partition] = set()

    def load(self, now: int) -> None:
        """Find what is there, and begin the partitions that are not; also after a `tidy` that was rolled back."""
        self._connection.executescript(SCHEMA)
        self._chains.clear()
        rows = self._connection.execute(
            "SELECT id, topic, partition, first, opened, bytes FROM segments ORDER BY id"
        )
        for id_, topic, number, *rest in rows.fetchall():
            segment = Segment(id_, Partition(topic, number), *rest)
            self._chains.setdefault(segment.partition, []).append(segment)
        self._connection.execute("BEGIN IMMEDIATE")
        for topic in self._topics.values():
            for number in range(topic.partitions):
                self._open(Partition(topic.name, number), now)
        self._connection.execute("COMMIT")

    def oldest(self, partition: Partition) -> int:
        """The first offset that is kept."""
        return self._chains[partition][0].first

    def insert(self, partition: Partition, rows: Sequence[Row]) -> None:
        """Append rows, inside the caller's transaction."""
        table = self._chains[partition][-1].table
        self._connection.executemany(f"INSERT INTO {table} VALUES(?,?,?,?,?)", rows)

    def inserted(self, partition: Partition, rows: Sequence[Row]) -> None:
        """The transaction of these rows was committed."""
        self.ends[partition] = rows[-1][0] + 1
        self._chains[partition][-1].bytes += sum(
            ROW_BYTES + len(key or "") + len(value or b"") + len(headers)
            for _, key, value, headers, _ in rows
        )
        self._dirty.add(partition)

    def commit(self, group: str, offsets: Offsets) -> None:
        """Remember a group's next offsets, inside the caller's transaction."""
        self._connection.executemany(
            "INSERT INTO commits VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET next = excluded.next",
            [(group, place.topic, place.number, offset) for place, offset in offsets.items()],
        )

    def committed(self) -> dict[tuple[str, Partition], int]:
        """The next offsets of every group."""
        rows = self._connection.execute("SELECT member_group, topic, partition, next FROM commits")
        return {(group, Partition(topic, number)): after for group, topic, number, after in rows}

    def tidy(self, now: int) -> None:
        """Begin new segments where the last is full or old, compact, and drop what is too old or too much."""
        self._connection.execute("BEGIN IMMEDIATE")
        for partition, chain in self._chains.items():
            topic = self._topics.get(partition.topic)
            if topic is None:
                continue
            if topic.kind == "compacted":
                self._compact(partition, now)
            elif self._full(chain[-1], topic, now):
                self._begin(partition, self.ends[partition], now)
        for segment in self._too_old(now):
            self._drop(segment)
        while surplus := self._too_much():
            self._drop(surplus)
        self._dirty.clear()
        self._connection.execute("COMMIT")

    def chain(self, partition: Partition) -> Sequence[Segment]:
        """A partition's segments, oldest first."""
        return tuple(self._chains[partition])

    def _open(self, partition: Partition, now: int) -> None:
        if partition not in self._chains:
            self._begin(partition, 0, now)
        last = self._chains[partition][-1]
        newest, size = self._connection.execute(
            f"SELECT max(offset), total(length(value) + length(headers) + {ROW_BYTES})"  # noqa: S608 -- our own name
            f" FROM {last.table}"
        ).fetchone()
        self.ends[partition] = last.first if newest is None else newest + 1
        last.bytes = int(size)

    def _begin(self, partition: Partition, first: int, now: int) -> None:
        chain = self._chains.setdefault(partition, [])
        if chain:
            self._connection.execute(
                "UPDATE segments SET bytes = ? WHERE id = ?", (chain[-1].bytes, chain[-1].id)
            )
        row = self._connection.execute(
            "INSERT INTO segments(topic, partition, first, opened, bytes) VALUES(?,?,?,?,0)",
            (*partition, first, now),
        )
        segment = Segment(row.lastrowid or 0, partition, first, now)
        self._connection.execute(
            f"CREATE TABLE {segment.table}"
            "(offset INTEGER PRIMARY KEY, key TEXT, value BLOB, headers BLOB, time INTEGER)"
        )
        chain.append(segment)

    def _full(self, last: Segment, topic: Topic, now: int) -> bool:
        if self.ends[last.partition] == last.first:
            return False
        age = (topic.retention_hours or 24 * 365) * HOUR // 8
        return last.bytes >= self._size or now - last.opened >= age

    def _too_old(self, now: int) -> list[Segment]:
        old = []
        for partition, chain in self._chains.items():
            topic = self._topics.get(partition.topic)
            if topic is None or topic.retention_hours is None:
                continue
            limit = now - topic.retention_hours * HOUR
            old += [s for s, after in itertools.pairwise(chain) if after.opened < limit]
        return old

    def _too_much(self) -> Segment | None:
        """Over the budget the topic with the most bytes gives up its oldest segment: alerts outlive detections."""
        sizes: dict[str, int] = {}
        for partition, chain in self._chains.items():
            sizes[partition.topic] = sizes.get(partition.topic, 0) + sum(s.bytes for s in chain)
        if sum(sizes.values()) <= self._budget:
            return None
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            heads = [c[0] for p, c in self._chains.items() if p.topic == name and len(c) > 1]
            if heads:
                return min(heads, key=lambda segment: segment.opened)
        return None

    def _drop(self, segment: Segment) -> None:
        self._connection.execute(f"DROP TABLE {segment.table}")
        self._connection.execute("DELETE FROM segments WHERE id = ?", (segment.id,))
        self._chains[segment.partition].remove(segment)

    def _compact(self, partition: Partition, now: int) -> None:
        """Keep the newest record of each key; a tombstone goes after a while, the very last record never."""
        if partition not in self._dirty:
            return
        table = self._chains[partition][-1].table
        self._connection.execute(
            f"DELETE FROM {table} WHERE offset < ? AND"  # noqa: S608 -- our own name
            f" (offset NOT IN (SELECT max(offset) FROM {table} GROUP BY key)"
            " OR (value IS NULL AND time < ?))",
            (self.ends[partition] - 1, now - TOMBSTONES_KEPT),
        )


def read(
    connection: sqlite3.Connection, chain: Sequence[Segment], offset: int, limit: int
) -> list[Record]:
    """Up to `limit` records of a partition from `offset` on; none of a segment that was dropped meanwhile."""
    found: list[Record] = []
    for segment, after in zip(chain, [*chain[1:], None], strict=True):
        if len(found) >= limit or (after is not None and after.first <= offset):
            continue
        try:
            rows = connection.execute(
                f"SELECT * FROM {segment.table} WHERE offset >= ? ORDER BY offset LIMIT ?",  # noqa: S608 -- our own name
                (offset, limit - len(found)),
            ).fetchall()
        except sqlite3.OperationalError:
            continue
        found.extend(_record(segment.partition, row) for row in rows)
    return found


def _record(partition: Partition, row: Row) -> Record:
    offset, key, value, headers, at = row
    return Record(
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        headers=_HEADERS.decode(headers),
        timestamp=at,
    )
