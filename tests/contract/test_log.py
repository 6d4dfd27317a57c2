"""What every adapter of the log promises to those who append and read."""

import asyncio

import pytest

from schemas.event import Envelope, Topic
from schemas.events.frame_captured import FrameCaptured
from shared.bus.partitions import partition_of
from shared.bus.port import CommitRefused, Log, Partition, Reader, Record
from shared.bus.publisher import message
from tests.contract.bus import (
    OpenLog,
    Quiet,
    everything,
    fact,
    facts,
    joined,
    make_topic,
    tombstone,
)

KEYS = ["gate", "yard", "door", "lift", "hall"]


def ids(records: list[Record]) -> list[str]:
    return [dict(record.headers)["ce_id"].decode() for record in records]


async def read(reader: Reader, count: int) -> list[Record]:
    """The next `count` records."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            for found in (await reader.fetch(max_records=count, timeout=0.5)).values():
                records.extend(found)
    return records


async def settled(*readers: Reader, partitions: int) -> None:
    """Fetch with all until they own `partitions` together."""
    async with asyncio.timeout(20):
        while True:
            await asyncio.gather(*(r.fetch(max_records=1, timeout=0.1) for r in readers))
            owned = [set(await reader.positions()) for reader in readers]
            if all(owned) and sum(map(len, owned)) == partitions:
                return


async def test_append_says_where_each_record_is(open_log: OpenLog) -> None:
    topic = make_topic()
    async with open_log([topic]) as log:
        places = await log.append(facts(topic, KEYS, range(3)))
        by_place = {
            (r.partition, r.offset): i for r in await everything(log, topic) for i in ids([r])
        }
    expected = [f"{key}:{number}" for number in range(3) for key in KEYS]
    assert [by_place[place] for place in places] == expected
    assert {p.number for p, _ in places} == {partition_of(key, 3) for key in KEYS}


async def test_one_append_takes_ephemeral_and_durable_facts(open_log: OpenLog) -> None:
    kept, passing = make_topic("durable"), make_topic("ephemeral")
    mixed = [
        message for n in range(3) for message in (fact(passing, "gate", n), fact(kept, "gate", n))
    ]
    async with open_log([kept, passing]) as log:
        places = await log.append(mixed)
        for topic in (kept, passing):
            assert ids(await everything(log, topic)) == ["gate:0", "gate:1", "gate:2"]
    assert [place.topic for place, _ in places] == [passing.name, kept.name] * 3
    for topic in (kept, passing):
        offsets = [offset for place, offset in places if place.topic == topic.name]
        assert offsets == sorted(offsets)


async def test_what_was_appended_comes_back_whole(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    sent = fact(topic, "gate", 1)
    async with open_log([topic]) as log:
        await log.append([sent])
        [record] = await everything(log, topic)
    assert (record.key, record.value, record.headers) == (sent.key, sent.value, sent.headers)
    assert record.timestamp > 1_600_000_000_000_000


async def test_records_of_one_key_keep_their_order(open_log: OpenLog) -> None:
    topic = make_topic()
    async with open_log([topic]) as log:
        await asyncio.gather(*(log.append(facts(topic, [key], range(40))) for key in KEYS))
        found = ids(await everything(log, topic))
    for key in KEYS:
        assert [i for i in found if i.startswith(key)] == [f"{key}:{n}" for n in range(40)]


async def test_an_undeclared_topic_is_refused(open_log: OpenLog) -> None:
    async with open_log([make_topic()]) as log:
        with pytest.raises(ValueError, match="unknown topic"):
            await log.append([fact(make_topic(), "gate", 1)])


async def test_a_group_shares_the_partitions(open_log: OpenLog) -> None:
    topic = make_topic(partitions=4)
    async with (
        open_log([topic]) as log,
        joined(log, topic, member="a") as a,
        joined(log, topic, member="b") as b,
    ):
        await settled(a, b, partitions=4)
        assert len(await a.positions()) == len(await b.positions()) == 2


async def test_two_groups_each_read_everything(open_log: OpenLog) -> None:
    topic = make_topic()
    async with (
        open_log([topic]) as log,
        joined(log, topic, group="x") as x,
        joined(log, topic, group="y") as y,
    ):
        await log.append(facts(topic, KEYS, range(2)))
        assert sorted(ids(await read(x, 10))) == sorted(ids(await read(y, 10)))


async def test_a_member_that_returns_goes_on_at_its_commit(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    place = Partition(topic.name, 0)
    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(5)))
        async with joined(log, topic) as reader:
            await read(reader, 5)
            await reader.commit({place: 3})
        async with joined(log, topic) as reader:
            assert ids(await read(reader, 2)) == ["gate:3", "gate:4"]


async def test_a_commit_is_refused_after_revocation(open_log: OpenLog) -> None:
    topic = make_topic(partitions=2)
    listener = Quiet()
    async with open_log([topic]) as log, joined(log, topic, member="a", listener=listener) as a:
        await settled(a, partitions=2)
        async with joined(log, topic, member="b") as b:
            await settled(a, b, partitions=2)
            [lost] = {Partition(topic.name, n) for n in range(2)} - set(await a.positions())
            with pytest.raises(CommitRefused):
                await a.commit({lost: 1})
    assert lost in {p for partitions in listener.revocations for p in partitions}


async def test_partitions_of_a_member_that_left_wait_for_its_return(open_log: OpenLog) -> None:
    topic = make_topic(partitions=2)
    async with (
        open_log([topic]) as log,
        joined(log, topic, member="a") as a,
        joined(log, topic, member="b") as b,
    ):
        await settled(a, b, partitions=2)
        kept = set(await b.positions())
        await a.close()
        await b.fetch(max_records=1, timeout=0.3)
        assert set(await b.positions()) == kept
        async with joined(log, topic, member="a") as again:
            await settled(again, b, partitions=2)
            assert set(await b.positions()) == kept


async def test_partitions_of_a_member_that_stays_away_are_taken_over(open_log: OpenLog) -> None:
    topic = make_topic(partitions=2)
    async with (
        open_log([topic]) as log,
        joined(log, topic, member="a") as a,
        joined(log, topic, member="b") as b,
    ):
        await settled(a, b, partitions=2)
        await a.close()
        await settled(b, partitions=2)


async def test_the_first_bearer_of_a_name_can_commit_no_more(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    async with open_log([topic]) as log, joined(log, topic) as old:
        await settled(old, partitions=1)
        async with joined(log, topic) as new:
            await settled(new, partitions=1)
            with pytest.raises(CommitRefused):
                await old.commit({Partition(topic.name, 0): 1})


async def test_a_paused_partition_rests_and_the_others_go_on(open_log: OpenLog) -> None:
    topic = make_topic()
    async with open_log([topic]) as log, joined(log, topic) as reader:
        await settled(reader, partitions=3)
        paused = Partition(topic.name, partition_of("gate", 3))
        reader.pause([paused])
        await log.append(facts(topic, KEYS, range(2)))
        others = [key for key in KEYS if partition_of(key, 3) != paused.number]
        await read(reader, 2 * len(others))
        assert not await reader.fetch(max_records=10, timeout=0.3)
        reader.resume([paused])
        assert {r.partition for r in await read(reader, 2)} == {paused}


async def test_seek_goes_back(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    async with open_log([topic]) as log, joined(log, topic) as reader:
        await log.append(facts(topic, ["gate"], range(5)))
        await read(reader, 5)
        await reader.seek(Partition(topic.name, 0), 3)
        assert ids(await read(reader, 2)) == ["gate:3", "gate:4"]


async def test_ends_and_positions_tell_the_lag(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    place = Partition(topic.name, 0)
    async with open_log([topic]) as log, joined(log, topic) as reader:
        await settled(reader, partitions=1)
        reader.pause([place])
        await log.append(facts(topic, ["gate"], range(5)))
        assert (await reader.ends())[place] - (await reader.positions())[place] == 5
        reader.resume([place])
        await read(reader, 5)
        assert await reader.ends() == await reader.positions() == {place: 5}


async def test_a_tail_reads_from_now_on(open_log: OpenLog) -> None:
    topic = make_topic()
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(3)))
        reader = await log.reader([topic], kind="tail", group="t", member="m", listener=Quiet())
        await log.append(facts(topic, KEYS, [7]))
        assert sorted(ids(await read(reader, 5))) == sorted(f"{key}:7" for key in KEYS)
        await reader.close()


async def test_a_table_reads_from_the_start_with_tombstones(open_log: OpenLog) -> None:
    topic = make_topic("compacted", partitions=1)
    async with open_log([topic]) as log:
        await log.append([fact(topic, "gate", 1), fact(topic, "yard", 1), tombstone(topic, "gate")])
        assert [record.value is None for record in await everything(log, topic)][-1]


class Painted:
    """A picture that counts how often it was made a JPEG."""

    def __init__(self) -> None:
        self.encoded = 0

    def jpeg(self) -> bytes:
        """A JPEG, as far as the log can tell."""
        self.encoded += 1
        return b"\xff\xd8jpeg"

    def pixels(self) -> object:
        """The pixels."""
        return self


def frame(topic: Topic, seq: int, picture: Painted) -> Envelope:
    event = FrameCaptured(
        camera="gate", epoch=1, seq=seq, captured_at=seq, read_at=seq, width=4, height=3, lease=1
    )
    return Envelope(
        id=f"gate:{seq}",
        source="/test",
        topic=topic.name,
        key="gate",
        event=event,
        picture=picture,
    )


async def frames(log: Log, topic: Topic, count: int) -> list[Painted]:
    pictures = [Painted() for _ in range(count)]
    for seq, picture in enumerate(pictures):
        await log.append([message(frame(topic, seq, picture))])
    return pictures


async def test_an_ephemeral_picture_arrives(open_log: OpenLog) -> None:
    topic = make_topic("ephemeral", partitions=1)
    async with open_log([topic]) as log:
        pictures = await frames(log, topic, 2)
        records = await everything(log, topic)
    assert ids(records) == ["gate:0", "gate:1"]
    for record, picture in zip(records, pictures, strict=True):
        carried = record.picture is picture and picture.encoded == 0
        assert carried or record.value == b"\xff\xd8jpeg"
