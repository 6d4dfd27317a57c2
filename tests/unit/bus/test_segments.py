"""Segments on a real SQLite file: what is dropped, what is kept, and that offsets never go back."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from schemas.event import Topic
from shared.bus.port import Partition
from shared.bus.segments import HOUR, Segments, read

HEADERS = msgspec.msgpack.encode((("ce_id", b"x"),))


def topic(name: str, kind: Literal["durable", "compacted"] = "durable", hours: int = 8) -> Topic:
    return Topic(name=name, kind=kind, partitions=1, retention_hours=hours, description="of a test")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")  # no crash is tested here
    yield connection
    connection.close()


def make(
    connection: sqlite3.Connection, *topics: Topic, budget: int = 10**9, size: int = 10**6
) -> Segments:
    segments = Segments(connection, topics, budget=budget, size=size)
    segments.load(now=0)
    return segments


def append(
    segments: Segments,
    name: str,
    count: int,
    *,
    key: str = "k",
    value: bytes | None = b"v",
    at: int = 0,
) -> None:
    place = Partition(name, 0)
    first = segments.ends[place]
    rows = [(first + n, key, value, HEADERS, at) for n in range(count)]
    segments.insert(place, rows)
    segments.inserted(place, rows)


def offsets(
    connection: sqlite3.Connection, segments: Segments, name: str, start: int = 0
) -> list[int]:
    return [r.offset for r in read(connection, segments.chain(Partition(name, 0)), start, 10_000)]


def test_reading_goes_over_segment_borders(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("a"), size=1)
    for _ in range(3):
        append(segments, "a", 4)
        segments.tidy(now=1)
    assert len(segments.chain(Partition("a", 0))) == 4
    assert offsets(connection, segments, "a", start=3) == list(range(3, 12))
    chain = segments.chain(Partition("a", 0))
    assert [r.offset for r in read(connection, chain, 2, 4)] == [2, 3, 4, 5]


def test_a_reopened_log_goes_on_where_it_was(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("a"), size=1)
    append(segments, "a", 4)
    segments.tidy(now=1)
    append(segments, "a", 2)
    again = make(connection, topic("a"), size=1)
    assert again.ends == {Partition("a", 0): 6}
    assert offsets(connection, again, "a") == list(range(6))


def test_what_is_too_old_is_dropped_and_offsets_go_on(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("a", hours=8))
    append(segments, "a", 4)
    segments.tidy(now=1 * HOUR)  # an eighth of the retention: the segment is closed
    append(segments, "a", 3)
    segments.tidy(now=2 * HOUR)
    assert segments.oldest(Partition("a", 0)) == 0
    segments.tidy(now=9 * HOUR + 1)
    assert segments.oldest(Partition("a", 0)) == 4
    segments.tidy(now=20 * HOUR)
    segments.tidy(now=40 * HOUR)
    assert offsets(connection, segments, "a") == []
    again = make(connection, topic("a", hours=8))
    assert again.ends == {Partition("a", 0): 7}


def test_over_the_budget_the_biggest_topic_gives_way(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("alerts"), topic("detections"), budget=100_000, size=10_000)
    append(segments, "alerts", 10, value=b"x" * 500)
    for _ in range(20):
        append(segments, "detections", 20, value=b"x" * 500)
        segments.tidy(now=1)
    assert offsets(connection, segments, "alerts") == list(range(10))
    kept = offsets(connection, segments, "detections")
    assert kept[-1] == 399
    assert 100 < len(kept) < 200


def test_a_read_of_a_dropped_segment_finds_the_rest(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("a", hours=8))
    append(segments, "a", 4)
    segments.tidy(now=1 * HOUR)
    append(segments, "a", 3)
    before = segments.chain(Partition("a", 0))
    segments.tidy(now=10 * HOUR)
    assert [r.offset for r in read(connection, before, 0, 100)] == [4, 5, 6]


def test_compaction_keeps_the_newest_of_each_key(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("c", "compacted"))
    for key in ("gate", "yard", "gate", "door", "yard"):
        append(segments, "c", 1, key=key)
    segments.tidy(now=1)
    assert offsets(connection, segments, "c") == [2, 3, 4]


def test_tombstones_go_after_a_day_but_never_the_last_record(
    connection: sqlite3.Connection,
) -> None:
    segments = make(connection, topic("c", "compacted"))
    append(segments, "c", 1, key="gate")
    append(segments, "c", 1, key="gate", value=None, at=0)
    append(segments, "c", 1, key="yard", value=None, at=0)
    segments.tidy(now=HOUR)
    assert offsets(connection, segments, "c") == [1, 2]
    append(segments, "c", 1, key="door", value=None, at=0)
    segments.tidy(now=25 * HOUR)
    assert offsets(connection, segments, "c") == [3]
    assert make(connection, topic("c", "compacted")).ends[Partition("c", 0)] == 4


def test_a_tidy_that_fails_leaves_the_log_as_it_was(connection: sqlite3.Connection) -> None:
    segments = make(connection, topic("a"), size=1)
    append(segments, "a", 4)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        segments.tidy(now=1)
    connection.execute("ROLLBACK")
    segments.load(now=1)
    connection.execute("PRAGMA max_page_count = 1000000")
    append(segments, "a", 2)
    assert offsets(connection, segments, "a") == list(range(6))
