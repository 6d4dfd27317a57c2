"""What the engine promises to those who handle events, on every adapter of the log."""

import asyncio
from collections.abc import Sequence

import pytest

from schemas.event import Envelope
from shared.bus.dead_letters import dead_topic
from shared.bus.partitions import partition_of
from shared.bus.port import Batch, Message, Partition
from shared.errors import Poison, Transient
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
    until,
)

KEYS = ["gate", "yard", "door", "lift", "hall"]


def expected(keys: Sequence[str], numbers: range) -> list[str]:
    return sorted(f"{key}:{number}" for number in numbers for key in keys)


async def test_everything_is_handled_once_and_in_order_of_its_key(open_log: OpenLog) -> None:
    topic, seen = make_topic(), Seen()
    async with open_log([topic]) as log, running(make_engine(log, subscribe(topic, seen))):
        await log.append(facts(topic, KEYS, range(30)))
        await until(lambda: len(seen.ids) == 150)
    for key in KEYS:
        assert seen.of(key) == list(range(30))


async def test_a_restart_goes_on_after_the_finished_prefix(open_log: OpenLog) -> None:
    topic, first, second = make_topic(), Seen(), Seen()
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(10)))
        async with running(make_engine(log, subscribe(topic, first))):
            await until(lambda: len(first.ids) == 50)
        await log.append(facts(topic, KEYS, range(10, 12)))
        async with running(make_engine(log, subscribe(topic, second))):
            await until(lambda: len(second.ids) >= 10)
    assert sorted(second.ids) == expected(KEYS, range(10, 12))


async def test_what_is_still_under_way_is_not_committed_and_comes_again(open_log: OpenLog) -> None:
    topic, first, second = make_topic(partitions=1), Seen(), Seen()
    held: list[int] = [3]

    def unfinished(_: Partition) -> int | None:
        return min(held, default=None)

    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(6)))
        async with running(make_engine(log, subscribe(topic, first, unfinished=unfinished))):
            await until(lambda: len(first.ids) == 6)
        async with running(make_engine(log, subscribe(topic, second, unfinished=unfinished))):
            await until(lambda: second.of("gate") == [3, 4, 5])
            held.clear()
            await log.append(facts(topic, ["gate"], [6]))
            await until(lambda: second.of("gate") == [3, 4, 5, 6])
        third = Seen()
        await log.append(facts(topic, ["gate"], [7]))
        async with running(make_engine(log, subscribe(topic, third))):
            await until(lambda: third.ids)
    assert third.of("gate") == [7]


async def test_a_slow_partition_holds_up_no_other(open_log: OpenLog) -> None:
    topic, opened = make_topic(), asyncio.Event()
    slow = partition_of("gate", 3)
    seen: list[int] = []

    async def handle(batch: Batch) -> None:
        if batch.partition.number == slow:
            await opened.wait()
        seen.extend(batch.partition.number for _ in batch.envelopes)

    async with open_log([topic]) as log, running(make_engine(log, subscribe(topic, handle))):
        await log.append(facts(topic, KEYS, range(5)))
        others = sum(5 for key in KEYS if partition_of(key, 3) != slow)
        await until(lambda: len(seen) == others)
        assert slow not in seen
        opened.set()
        await until(lambda: len(seen) == 25)


async def test_what_waits_is_bounded(open_log: OpenLog) -> None:
    topic, opened = make_topic(partitions=1), asyncio.Event()
    seen: list[str] = []

    async def handle(batch: Batch) -> None:
        await opened.wait()
        seen.extend(envelope.id for envelope in batch.envelopes)

    async with open_log([topic]) as log:
        engine = make_engine(log, subscribe(topic, handle, max_batch=4))
        async with running(engine):
            await log.append(facts(topic, ["gate"], range(200)))
            await until(lambda: engine.health().details["lag"])
            await asyncio.sleep(0.5)
            assert max(len(lane.queue) for lane in engine.lanes) <= 12
            opened.set()
            await until(lambda: len(seen) == 200)
    assert seen == [f"gate:{n}" for n in range(200)]


async def test_transient_failures_are_tried_again_in_order(open_log: OpenLog) -> None:
    topic, left = make_topic(), [4]

    def fails(envelope: Envelope) -> None:
        if envelope.id == "gate:3" and left[0]:
            left[0] -= 1
            raise Transient("the database is away")

    seen = Seen(fails)
    async with open_log([topic]) as log:
        async with running(make_engine(log, subscribe(topic, seen))):
            await log.append(facts(topic, KEYS, range(10)))
            await until(lambda: len(seen.ids) == 50)
        assert not await dead_letters(log, topic)
    assert seen.of("gate") == list(range(10))


def every_hundredth(envelope: Envelope) -> None:
    if int(envelope.id.partition(":")[2]) % 100 == 7:
        raise Poison("cannot be digested")


@pytest.mark.row("R8")
async def test_r8_one_percent_poison_goes_to_the_dead_letters_once(open_log: OpenLog) -> None:
    topic, seen = make_topic(), Seen(every_hundredth)
    async with open_log([topic]) as log:
        places = await log.append(facts(topic, ["gate", "yard"], range(300)))
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: len(seen.ids) == 594)
        letters = await dead_letters(log, topic)
    bad = [places[2 * n + k] for n in (7, 107, 207) for k in (0, 1)]
    assert sorted((letter.partition, letter.offset) for letter in letters) == sorted(bad)
    assert {(letter.error, letter.attempt, letter.reason) for letter in letters} == {
        ("Poison", 1, "cannot be digested")
    }
    assert all(0 < letter.first_seen <= letter.parked_at for letter in letters)
    assert sorted(set(seen.ids)) == sorted(seen.ids)


async def test_a_dead_letter_is_the_record_itself(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    sent = fact(topic, "gate", 7)
    async with open_log([topic]) as log:
        await log.append([sent])
        async with running(make_engine(log, subscribe(topic, Seen(every_hundredth)))):
            await parked(log, topic, 1)
        [letter] = await everything(log, dead_topic(topic))
    assert (letter.key, letter.value) == (sent.key, sent.value)
    assert letter.headers[: len(sent.headers)] == sent.headers


@pytest.mark.row("R9")
async def test_r9_all_poison_stops_the_engine_and_spares_the_topic(open_log: OpenLog) -> None:
    topic = make_topic(partitions=2)

    def fails(envelope: Envelope) -> None:
        raise Poison("a bad deployment")

    engine_of = subscribe(topic, Seen(fails))
    async with open_log([topic]) as log:
        engine = make_engine(log, engine_of)
        await log.append(facts(topic, KEYS, range(60)))
        async with running(engine):
            await until(lambda: engine.health().status == "unhealthy")
            assert "dead letters" in engine.health().reason
            await asyncio.sleep(0.5)
        # A partition may be parking one while another trips the wire.
        assert 50 <= len(await dead_letters(log, topic)) <= 51


async def test_undecodable_records_go_to_the_dead_letters(open_log: OpenLog) -> None:
    topic, seen = make_topic(partitions=1), Seen()
    async with open_log([topic]) as log:
        await log.append([fact(topic, "gate", 0), garbage(topic, "gate"), fact(topic, "gate", 1)])
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: len(seen.ids) == 2)
        [letter] = await dead_letters(log, topic)
    assert (letter.offset, letter.error) == (1, "Undecodable")
    assert seen.of("gate") == [0, 1]


async def test_an_unknown_error_is_tried_thrice_then_parked_with_its_trace(
    open_log: OpenLog,
) -> None:
    topic = make_topic(partitions=1)

    def fails(envelope: Envelope) -> None:
        if envelope.id == "gate:1":
            raise KeyError("surprise")

    seen = Seen(fails)
    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(3)))
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: len(seen.ids) == 2)
        [letter] = await everything(log, dead_topic(topic))
    headers = dict(letter.headers)
    assert (headers["dead_error"], headers["dead_attempt"]) == (b"KeyError", b"3")
    assert b'raise KeyError("surprise")' in headers["dead_traceback"]
    assert seen.of("gate") == [0, 2]


@pytest.mark.row("R10")
async def test_r10_a_dead_letter_last_on_an_idle_partition_is_committed(open_log: OpenLog) -> None:
    topic, seen = make_topic(partitions=1), Seen(every_hundredth)
    async with open_log([topic]) as log:
        await log.append([fact(topic, "gate", 7)])
        async with running(make_engine(log, subscribe(topic, seen))):
            await parked(log, topic, 1)
        again = Seen(every_hundredth)
        async with running(make_engine(log, subscribe(topic, again))):
            await asyncio.sleep(1.0)
        assert len(await dead_letters(log, topic)) == 1
    assert not again.batches


class Refusing:
    """The log, refusing dead letters while it is told to."""

    def __init__(self, log: object) -> None:
        self.refuses = True
        self.refused = 0
        self._log = log

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """Refuse, or pass on."""
        if self.refuses:
            self.refused += 1
            raise Transient("no room")
        return await self._log.append(messages, timeout=timeout)  # type: ignore[attr-defined, no-any-return]  # a Log


@pytest.mark.row("R10")
async def test_r10_nothing_is_committed_while_dead_letters_are_refused(open_log: OpenLog) -> None:
    topic = make_topic(partitions=1)
    async with open_log([topic]) as log:
        dead = Refusing(log)
        await log.append(facts(topic, ["gate"], range(6, 9)))
        first, second = Seen(every_hundredth), Seen(every_hundredth)
        async with running(make_engine(log, subscribe(topic, first), publisher_log=dead)):
            await until(lambda: dead.refused > 2)
        assert first.of("gate") == [6]
        dead.refuses = False
        async with running(make_engine(log, subscribe(topic, second), publisher_log=dead)):
            await until(lambda: second.of("gate") == [8])
        assert [letter.offset for letter in await dead_letters(log, topic)] == [1]


async def test_a_handler_slower_than_the_session_keeps_its_partition(open_log: OpenLog) -> None:
    topic, slow, other = make_topic(partitions=2), Seen(waits=open_log.session + 1), Seen()
    async with open_log([topic]) as log:
        a = make_engine(log, subscribe(topic, slow, each=True), member="a")
        b = make_engine(log, subscribe(topic, other, each=True), member="b")
        async with running(a, b):
            await until(lambda: a.lanes and b.lanes)
            await log.append(facts(topic, KEYS, range(1)))
            await until(lambda: slow.ids, seconds=open_log.session + 20)
            await log.append(facts(topic, KEYS, range(1, 2)))
            await asyncio.sleep(0.5)
            before = set(slow.ids)
        started = {envelope.id for batch in slow.batches for envelope in batch.envelopes}
    assert before
    assert not started & set(other.ids)
    assert len(slow.ids) == len(set(slow.ids))


@pytest.mark.row("R3")
async def test_r3_draining_finishes_what_is_in_work_and_commits_it(open_log: OpenLog) -> None:
    topic, seen = make_topic(), Seen(waits=0.3)
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(100)))
        engine = make_engine(log, subscribe(topic, seen, max_batch=5))
        running_engine = asyncio.create_task(engine.run())
        await until(lambda: len(seen.ids) > 5)
        async with asyncio.timeout(5):
            await engine.drain(5.0)
            await running_engine
        rest = Seen()
        async with running(make_engine(log, subscribe(topic, rest))):
            await until(lambda: len(seen.ids) + len(rest.ids) >= 500)
    assert sorted(seen.ids + rest.ids) == expected(KEYS, range(100))


async def test_a_new_member_takes_over_without_loss_or_repetition(open_log: OpenLog) -> None:
    topic, first, second = make_topic(partitions=4), Seen(waits=0.02), Seen(waits=0.02)
    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(200)))
        a = make_engine(log, subscribe(topic, first, max_batch=5), member="a")
        b = make_engine(log, subscribe(topic, second, max_batch=5), member="b")
        async with running(a):
            await until(lambda: len(first.ids) > 50)
            async with running(b):
                await until(lambda: len(first.ids) + len(second.ids) >= 1_000)
    assert second.ids
    assert sorted(first.ids + second.ids) == expected(KEYS, range(200))


async def test_no_progress_under_lag_is_unhealthy(open_log: OpenLog) -> None:
    topic, opened = make_topic(partitions=1), asyncio.Event()

    async def handle(batch: Batch) -> None:
        await opened.wait()

    async with open_log([topic]) as log:
        engine = make_engine(log, subscribe(topic, handle, options={"stuck": 0.3}))
        async with running(engine):
            await log.append([fact(topic, "gate", 1)])
            await until(lambda: engine.health().status == "unhealthy")
            assert f"{topic.name}/0" in engine.health().reason
            opened.set()
            await until(lambda: engine.health().status == "healthy")
