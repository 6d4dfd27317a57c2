"""What the SQLite log promises beyond the contract: restarts, locks, full disks and broken files."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from shared.bus.port import Partition
from shared.bus.sqlite import CACHED, open_sqlite
from shared.errors import Setup, Transient
from tests.contract.bus import (
    Seen,
    everything,
    fact,
    facts,
    joined,
    make_engine,
    make_topic,
    running,
    subscribe,
    until,
)


async def test_records_and_commits_survive_a_restart(tmp_path: Path) -> None:
    topic, first, second = make_topic(partitions=2), Seen(), Seen()
    async with open_sqlite(tmp_path, [topic]) as log:
        await log.append(facts(topic, ["gate", "yard"], range(20)))
        async with running(make_engine(log, subscribe(topic, first))):
            await until(lambda: len(first.ids) == 40)
    async with open_sqlite(tmp_path, [topic]) as log:
        assert len(await everything(log, topic)) == 40
        await log.append(facts(topic, ["gate", "yard"], [20]))
        async with running(make_engine(log, subscribe(topic, second))):
            await until(lambda: len(second.ids) >= 2)
    assert sorted(second.ids) == ["gate:20", "yard:20"]


async def test_old_records_are_read_from_the_file(tmp_path: Path) -> None:
    topic = make_topic(partitions=1)
    count = 5 * CACHED
    async with open_sqlite(tmp_path, [topic]) as log:
        await log.append(facts(topic, ["gate"], range(count)))
        records = await everything(log, topic)
    assert [record.offset for record in records] == list(range(count))


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path, [make_topic()]):
        with pytest.raises(Setup, match="open in another process"):
            async with open_sqlite(tmp_path, [make_topic()]):
                pass
    async with open_sqlite(tmp_path, [make_topic()]):
        pass


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("no database at all, but long enough to look at" * 100)
    with pytest.raises(Setup, match="cannot be opened"):
        async with open_sqlite(tmp_path, [make_topic()]):
            pass
    assert (tmp_path / "log.db").read_text().startswith("no database")


async def test_a_writer_that_waits_too_long_says_so(tmp_path: Path) -> None:
    topic = make_topic(partitions=1)
    async with open_sqlite(tmp_path, [topic]) as log:
        other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="did not acknowledge"):
            await log.append([fact(topic, "gate", 1)], timeout=0.2)
        other.execute("ROLLBACK")
        other.close()
        await log.append([fact(topic, "gate", 2)])
        assert (await everything(log, topic))[-1].key == "gate"


async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    topic = make_topic(partitions=1)
    big = fact(topic, "gate", 0)
    async with open_sqlite(tmp_path, [topic]) as log:
        acked = await log.append(facts(topic, ["gate"], range(10)))
        _limit_pages(log, "page_count")
        with pytest.raises(Transient, match="full"):
            await log.append([big] * 200)
        assert len(await everything(log, topic)) == len(acked)
        _limit_pages(log, "1000000")
        assert (await log.append([big])) == [(Partition(topic.name, 0), 10)]


def _limit_pages(log: object, pages: str) -> None:
    """A full disk as SQLite itself reports it; the writing thread rests meanwhile."""
    connection: sqlite3.Connection = log._store._writer._connection  # type: ignore[attr-defined]  # the writer's own
    if pages == "page_count":
        pages = str(connection.execute("PRAGMA page_count").fetchone()[0])
    connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_concurrent_appends_share_a_commit(tmp_path: Path) -> None:
    topic = make_topic(partitions=1)
    async with open_sqlite(tmp_path, [topic]) as log:
        places = await asyncio.gather(*(log.append([fact(topic, "gate", n)]) for n in range(500)))
        records = await everything(log, topic)
    assert sorted(offset for [(_, offset)] in places) == list(range(500))
    assert len({record.timestamp for record in records}) < 100  # one time a group


async def test_offsets_of_ephemeral_records_never_come_twice(tmp_path: Path) -> None:
    topic = make_topic("ephemeral", partitions=1)
    places: list[tuple[Partition, int]] = []
    for _ in range(2):
        async with open_sqlite(tmp_path, [topic]) as log:
            places += await log.append(facts(topic, ["gate"], range(3)))
            async with joined(log, topic) as reader:
                await reader.fetch(max_records=10, timeout=1.0)
                await reader.commit({place: offset + 1 for place, offset in places[-1:]})
    offsets = [offset for _, offset in places]
    assert offsets == sorted(set(offsets))


async def test_nothing_blocks_the_event_loop(tmp_path: Path, loop_guard: BlockBuster) -> None:
    topic, seen = make_topic(), Seen()
    async with (
        open_sqlite(tmp_path, [topic]) as log,
        running(make_engine(log, subscribe(topic, seen))),
    ):
        await log.append(facts(topic, ["gate", "yard"], range(200)))
        await until(lambda: len(seen.ids) == 400)
