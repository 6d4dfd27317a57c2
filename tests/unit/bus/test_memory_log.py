"""Rings of ephemeral topics, and what readers of one process see of each other."""

import asyncio

import pytest

from schemas.cloudevents import JpegPicture
from shared.bus.memory import MARKS, Ring, open_memory
from shared.bus.port import Fenced, Message, Partition, Record
from tests.contract.bus import everything, fact, facts, joined, make_topic

PLACE = Partition("frames", 0)
PICTURE = JpegPicture(b"jpeg")


def record(offset: int, key: str, *, picture: bool) -> Record:
    return Record(
        partition=PLACE,
        offset=offset,
        key=key,
        value=b"",
        headers=(),
        timestamp=0,
        picture=PICTURE if picture else None,
    )


def test_of_each_key_the_newest_pictures_stay_and_all_marks() -> None:
    ring = Ring(pictures=2, keep=MARKS)
    for offset in range(12):
        ring.append(record(offset, "ab"[offset % 2], picture=offset >= 4))
    kept = [(r.offset, r.key) for r in ring.read(0, 100)]
    marks = [(0, "a"), (1, "b"), (2, "a"), (3, "b")]
    assert kept == [*marks, (8, "a"), (9, "b"), (10, "a"), (11, "b")]


def test_a_ring_is_bounded() -> None:
    ring = Ring(keep=10)
    for offset in range(100):
        ring.append(record(offset, "a", picture=False))
    assert ring.end == 100
    assert 10 <= ring.end - ring.oldest <= 20


def test_reading_begins_at_the_oldest_kept() -> None:
    ring = Ring(keep=10)
    for offset in range(100):
        ring.append(record(offset, "a", picture=False))
    assert ring.read(0, 1)[0].offset == ring.oldest
    assert [r.offset for r in ring.read(98, 10)] == [98, 99]


async def test_a_slow_reader_of_pictures_gets_the_newest() -> None:
    topic = make_topic("ephemeral", partitions=1)
    messages = [
        Message(topic=topic.name, key="gate", value=None, picture=PICTURE) for _ in range(50)
    ]
    async with open_memory([topic], pictures=4) as log:
        await log.append(messages)
        assert [r.offset for r in await everything(log, topic)] == [46, 47, 48, 49]


async def test_all_pictures_are_kept_where_that_is_wanted() -> None:
    topic = make_topic("ephemeral", partitions=1)
    messages = [
        Message(topic=topic.name, key="gate", value=None, picture=PICTURE) for _ in range(50)
    ]
    async with open_memory([topic], pictures=None) as log:
        await log.append(messages)
        assert len(await everything(log, topic)) == 50


async def test_the_first_bearer_of_a_name_is_told_that_it_is_over() -> None:
    topic = make_topic(partitions=1)
    async with open_memory([topic]) as log, joined(log, topic) as old, joined(log, topic) as new:
        await new.fetch(max_records=1, timeout=0)
        with pytest.raises(Fenced, match="another process"):
            await old.fetch(max_records=1, timeout=0)


async def test_no_partition_starves_another() -> None:
    topic = make_topic(partitions=2)
    keys = ["gate", "yard", "door", "lift"]
    async with open_memory([topic]) as log, joined(log, topic) as reader:
        await log.append(facts(topic, keys, range(100)))
        first, second = [set(await reader.fetch(max_records=5, timeout=0.1)) for _ in range(2)]
        assert first.isdisjoint(second)


async def test_a_waiting_reader_wakes_at_once() -> None:
    topic = make_topic(partitions=1)
    async with open_memory([topic]) as log, joined(log, topic) as reader:
        await reader.fetch(max_records=1, timeout=0)
        waiting = asyncio.create_task(reader.fetch(max_records=1, timeout=30))
        await asyncio.sleep(0)
        await log.append([fact(topic, "gate", 1)])
        async with asyncio.timeout(0.4):
            assert await waiting


async def test_a_seek_during_a_read_voids_what_was_read() -> None:
    topic = make_topic(partitions=1)
    place = Partition(topic.name, 0)
    async with open_memory([topic]) as log, joined(log, topic) as reader:
        await log.append(facts(topic, ["gate"], range(5)))
        found = await reader.fetch(max_records=5, timeout=0)
        assert [r.offset for r in found[place]] == list(range(5))
        store = reader._store  # type: ignore[attr-defined]  # a store that lets others in while it reads
        read_now = store.read

        async def read_slowly(partition: Partition, offset: int, limit: int) -> object:
            records = await read_now(partition, offset, limit)
            await reader.seek(place, 1)
            return records

        await reader.seek(place, 3)
        store.read = read_slowly
        assert not await reader.fetch(max_records=5, timeout=0)
        store.read = read_now
        found = await reader.fetch(max_records=5, timeout=0)
        assert [r.offset for r in found[place]] == [1, 2, 3, 4]
