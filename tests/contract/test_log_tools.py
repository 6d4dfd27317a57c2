"""What the tools of operators do to the log, on every adapter: reading, going back, dead letters that return."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
import pytest

from schemas.event import Envelope, Topic
from shared.bus import reading
from shared.bus.dead_letters import dead_topic, origin, returned
from shared.bus.port import Batch, Log, Message, Partition, Record, Subscription
from shared.bus.reading import first_at, in_order, records, spans
from shared.bus.rewind import check_rewind, rewind, targets
from shared.errors import Invalid, Poison
from tests.contract.bus import (
    OpenLog,
    Seen,
    dead_letters,
    everything,
    fact,
    facts,
    garbage,
    make_engine,
    make_topic,
    parked,
    running,
    subscribe,
    tombstone,
    until,
)

KEYS = ["gate", "yard", "door"]


async def numbers(log: Log, topic: Topic, **more: int) -> list[str]:
    since = {Partition(topic.name, int(number[1:])): offset for number, offset in more.items()}
    found = []
    async for batch in records(log, [topic], since=since):
        found += [name_of(record) for record in batch]
    return found


async def test_reading_ends_where_the_topic_ended_when_it_began(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    async with open_log([topic]) as log:
        assert await numbers(log, topic) == []
        await log.append(facts(topic, ["gate"], range(7)))
        assert await numbers(log, topic) == [f"gate:{n}" for n in range(7)]
        assert await numbers(log, topic, p0=5) == ["gate:5", "gate:6"]
        assert await numbers(log, topic, p0=7) == []
        assert await spans(log, [topic]) == {Partition(topic.name, 0): (0, 7)}
        seen: list[Record] = []
        async for batch in records(log, [topic]):
            seen += batch
            await log.append([fact(topic, "gate", 100 + len(seen))])
        assert len(seen) == 7


async def test_the_first_record_at_a_time_is_found(open_log: OpenLog) -> None:
    topic = make_topic(partitions=3)
    moments = []
    async with open_log([topic]) as log:
        for number in range(5):
            moments.append(time.time_ns() // 1000)
            await asyncio.sleep(0.01)
            await log.append(facts(topic, ["gate"], [number]))
            await asyncio.sleep(0.01)
        [(gate, _)] = await log.append([fact(topic, "gate", 5)])
        for number, moment in enumerate(moments):
            found = await first_at(log, topic, moment)
            assert found.pop(gate) == number
            assert set(found.values()) == {0}
        assert (await first_at(log, topic, 0))[gate] == 0
        assert (await first_at(log, topic, time.time_ns() // 1000 + 60_000_000))[gate] == 6


async def test_partitions_are_read_together_in_the_order_of_the_append(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much of one partition lies before, between and after what the others have: it waits for them."""
    monkeypatch.setattr(reading, "AT_ONCE", 5)
    monkeypatch.setattr(reading, "AHEAD", 10)
    topic, told, seen = make_topic(partitions=3), list[str](), list[Record]()
    places: Sequence[tuple[Partition, int]] = ()
    async with open_log([topic]) as log:
        assert [one async for one in in_order(log, topic)] == []
        for number, (key, count) in enumerate([("gate", 40), ("yard", 1), ("gate", 40), ("x", 30)]):
            numbers_ = range(100 * number, 100 * number + count)
            told += [f"{key}:{n}" for n in numbers_]
            places = await log.append(facts(topic, [key], numbers_))
            await asyncio.sleep(0.01)  # Kafka counts milliseconds
        async for record in in_order(log, topic):
            seen.append(record)
            if len(seen) == 1:
                await log.append([fact(topic, "gate", 999)])
        since = {places[0][0]: places[20][1]}
        cut = [one async for one in in_order(log, topic, since=since)]
    assert len({record.partition for record in seen}) == 3
    assert [name_of(record) for record in seen] == told
    assert [name_of(record) for record in cut] == [*told[:81], *told[101:], "gate:999"]


def name_of(record: Record) -> str:
    return dict(record.headers)["ce_id"].decode()


async def went_back(
    log: Log, subscription: Subscription, *, offset: int = 0, dry: bool = False
) -> int:
    to = await targets(log, subscription.topics, offset=offset, at=None)
    moves = await rewind(log, subscription, member="m1", to=to, dry=dry)
    return sum(move.before - move.after for move in moves)


async def test_a_group_that_goes_back_hears_the_same_ids_again(open_log: OpenLog) -> None:
    topic, first, again, other = make_topic(), Seen(), Seen(), Seen()
    mine = subscribe(topic, first)
    others = Subscription(topics=(topic,), handler=other, group=f"o-{topic.name}")
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(10)))
        async with running(make_engine(log, mine), make_engine(log, others)):
            await until(lambda: len(first.ids) == len(other.ids) == 30)
        assert await went_back(log, mine, dry=True) == 30
        async with running(make_engine(log, subscribe(topic, again))):
            await asyncio.sleep(0.3)
        assert again.ids == []
        assert await went_back(log, mine) == 30
        async with running(make_engine(log, subscribe(topic, again)), make_engine(log, others)):
            await until(lambda: len(again.ids) == 30)
    assert sorted(again.ids) == sorted(first.ids)
    for key in KEYS:
        assert again.of(key) == list(range(10))
    assert len(other.ids) == 30


async def test_going_back_never_skips_what_was_not_read(open_log: OpenLog) -> None:
    topic, seen = make_topic(partitions=1), Seen()
    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(4)))
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: len(seen.ids) == 4)
        await log.append(facts(topic, ["gate"], range(4, 9)))
        assert await went_back(log, subscribe(topic, seen), offset=8) == 0
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: seen.of("gate") == list(range(9)))


class Places:
    """Positions as a stage has them."""

    async def load(self, group: str, partition: Partition) -> int | None:
        """None is stored."""
        return None


@pytest.mark.parametrize(
    ("kind", "more", "why"),
    [
        ("durable", {"positions": Places()}, "count twice"),
        ("ephemeral", {}, "ephemeral"),
        ("compacted", {"kind": "table"}, "keeps no offsets"),
        ("durable", {"topic": "elsewhere"}, "does not read 'elsewhere'"),
    ],
)
def test_what_cannot_go_back_safely_is_refused(
    kind: str, more: dict[str, object], why: str
) -> None:
    topic = make_topic(kind)  # type: ignore[arg-type]  # one of its kinds
    asked = str(more.pop("topic")) if "topic" in more else None
    with pytest.raises(Invalid, match=why):
        check_rewind(subscribe(topic, Seen(), **more), asked)


class Ledger:
    """A stateful stage's position and effects, as one transaction would keep them."""

    def __init__(self) -> None:
        self.next: dict[Partition, int] = {}
        self.ids: list[str] = []

    async def load(self, group: str, partition: Partition) -> int | None:
        """The stored position."""
        return self.next.get(partition)

    async def __call__(self, batch: Batch) -> None:
        """Effects and position together."""
        self.ids += [envelope.id for envelope in batch.envelopes]
        self.next[batch.partition] = batch.next_offset


async def back_to_its_group(log: Log, topic: Topic) -> None:
    letters = await everything(log, dead_topic(topic))
    await log.append([returned(letter) for letter in letters])


@pytest.mark.row("R11")
async def test_r11_a_letter_goes_back_to_its_group_alone(open_log: OpenLog) -> None:
    topic, bad = make_topic(partitions=2), True

    def fails(envelope: Envelope) -> None:
        if bad and envelope.id == "gate:3":
            raise Poison("a mistake of this version")

    seen, other, stage = Seen(fails), Seen(), Ledger()
    groups = [
        subscribe(topic, seen),
        Subscription(topics=(topic,), handler=other, group=f"o-{topic.name}"),
        Subscription(topics=(topic,), handler=stage, group=f"s-{topic.name}", positions=stage),
    ]
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(6)))
        engines = [make_engine(log, one) for one in groups]
        async with running(*engines):
            await until(lambda: (len(seen.ids), len(other.ids), len(stage.ids)) == (17, 18, 18))
            bad = False
            await back_to_its_group(log, topic)
            await log.append(facts(topic, KEYS, [6]))
            await until(lambda: (len(seen.ids), len(other.ids), len(stage.ids)) == (21, 21, 21))
        total = len(await everything(log, topic))
        assert total == 22
        assert sum(stage.next.values()) == total
    assert seen.ids.count("gate:3") == 1
    assert seen.of("gate") == [0, 1, 2, 4, 5, 3, 6]
    for everybody in (other.ids, stage.ids):
        assert everybody.count("gate:3") == 1
    assert all(batch.envelopes for batch in other.batches)


async def test_a_letter_that_fails_again_is_a_letter_again(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)

    def fails(envelope: Envelope) -> None:
        raise Poison("still")

    async with open_log([topic]) as log:
        [(place, offset)] = await log.append([fact(topic, "gate", 1)])
        async with running(make_engine(log, subscribe(topic, Seen(fails)))):
            await parked(log, topic, 1)
            await back_to_its_group(log, topic)
            await parked(log, topic, 2)
        first, second = await everything(log, dead_topic(topic))
    assert (origin(first).partition, origin(first).offset) == (place, offset)
    assert origin(second).offset == offset + 1
    assert dict(first.headers)["ce_id"] == dict(second.headers)["ce_id"]
    names = [name for name, _ in second.headers]
    assert len(names) == len(set(names))


def poisons(topic: Topic) -> dict[str, Message]:
    """The list of b3-E."""
    good = fact(topic, "gate", 1)
    plain = [pair for pair in good.headers if pair[0] != "ce_type"]
    return {
        "null key and value": Message(topic=topic.name, key=None, value=None, partition=0),
        "null value without attributes": msgspec.structs.replace(good, value=None, headers=()),
        "bad JSON": garbage(topic, "gate"),
        "wrong shape": msgspec.structs.replace(good, value=b'{"camera": 7}'),
        "no type": msgspec.structs.replace(good, headers=tuple(plain)),
        "unknown type": _typed(good, plain, b"camera.exploded.v1"),
        "future version": _typed(good, plain, b"camera.status-changed.v99"),
        "header that is no UTF-8": msgspec.structs.replace(
            good,
            headers=(
                *(pair for pair in good.headers if pair[0] != "ce_id"),
                ("ce_id", b"\xff\xfe"),
            ),
        ),
        "deep nesting": msgspec.structs.replace(good, value=b"[" * 10_000 + b"]" * 10_000),
        "over a megabyte": msgspec.structs.replace(good, value=b"x" * 1_010_000),
        "crashing": fact(topic, "gate", 9_001),
        "hanging": fact(topic, "gate", 9_002),
    }


def _typed(good: Message, plain: Sequence[tuple[str, bytes]], name: bytes) -> Message:
    return msgspec.structs.replace(good, headers=(*plain, ("ce_type", name)))


@pytest.mark.row("R8")
async def test_r8_every_kind_of_poison_is_parked_once_and_the_rest_goes_on(
    open_log: OpenLog,
) -> None:
    topic = make_topic(partitions=1)
    ids: list[str] = []

    async def handle(batch: Batch) -> None:
        for envelope in batch.envelopes:
            if envelope.id == "gate:9001":
                raise RecursionError("crashes")
            if envelope.id == "gate:9002":
                await asyncio.sleep(600)
        ids.extend(envelope.id for envelope in batch.envelopes)

    async with open_log([topic]) as log:
        listed = poisons(topic)
        bad = {}
        for number, (name, message) in enumerate(listed.items()):
            good = facts(topic, ["yard"], range(10 * number, 10 * number + 10))
            [*_, (_, offset)] = await log.append([*good, message])
            bad[offset] = name
        await log.append([tombstone(topic, "gate")])  # no poison: it is handed over
        options = {"hang": 0.2, "tries": 2}
        async with running(make_engine(log, subscribe(topic, handle, options=options))):
            await parked(log, topic, len(bad))
            await until(lambda: len(ids) == 10 * len(bad) + 1)
        letters = await dead_letters(log, topic)
        [large] = [one for one in await everything(log, dead_topic(topic)) if origin(one).cut]
    assert (large.value, dict(large.headers)["dead_cut"]) == (None, b"1010000")
    with pytest.raises(ValueError, match="too large"):
        returned(large)
    assert sorted(letter.offset for letter in letters) == sorted(bad)
    assert {letter.partition for letter in letters} == {Partition(topic.name, 0)}
    errors = {bad[letter.offset]: (letter.error, letter.attempt) for letter in letters}
    assert errors.pop("crashing") == ("RecursionError", 2)
    assert errors.pop("hanging") == ("Hung", 2)
    assert set(errors.values()) == {("Undecodable", 1)}
    assert all(0 < letter.first_seen <= letter.parked_at for letter in letters)
    assert ids[:-1] == [f"yard:{n}" for n in range(10 * len(bad))]


@pytest.mark.row("R9")
async def test_r9_a_fresh_engine_goes_on_where_too_many_dead_letters_stopped_it(
    open_log: OpenLog,
) -> None:
    topic, deployed_badly = make_topic(partitions=2), True

    def fails(envelope: Envelope) -> None:
        if deployed_badly:
            raise Poison("a bad deployment")

    seen = Seen(fails)
    subscription = subscribe(topic, seen)
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(60)))
        async with running(tripped := make_engine(log, subscription)):
            await until(lambda: tripped.health().details.get("tripped"))
        spared = len(await dead_letters(log, topic))
        assert 50 <= spared <= 51
        deployed_badly = False
        async with running(engine := make_engine(log, subscription)):
            await until(lambda: len(seen.ids) == 180 - spared)
            await back_to_its_group(log, topic)
            await until(lambda: len(seen.ids) == 180)
            assert engine.health().status == "healthy"
    assert len(set(seen.ids)) == 180
