"""Stored positions, tables and tails: the other ways to read, on every adapter of the log."""

import asyncio

from shared.bus.port import Batch, Partition
from shared.errors import Poison, Transient
from tests.contract.bus import (
    OpenLog,
    Seen,
    dead_letters,
    fact,
    facts,
    garbage,
    make_engine,
    make_topic,
    running,
    subscribe,
    tombstone,
    until,
)

KEYS = ["gate", "yard", "door", "lift", "hall"]


class Sum:
    """A stateful stage: adds numbers, stores sum and position together every `every` records."""

    def __init__(self, every: int = 1) -> None:
        self.stored: dict[Partition, tuple[int, int]] = {}
        self.state: dict[Partition, int] = {}
        self.poison: set[int] = set()
        self.trouble: list[int] = []
        self.loads: list[Partition] = []
        self._every = every

    async def load(self, group: str, partition: Partition) -> int | None:
        """See `Positions.load`."""
        return self.stored[partition][0] if partition in self.stored else None

    async def assigned(self, partition: Partition) -> None:
        """See `Owner.assigned`."""
        self.loads.append(partition)
        self.state[partition] = self.stored.get(partition, (0, 0))[1]

    async def revoked(self, partition: Partition) -> None:
        """See `Owner.revoked`: forget, without a checkpoint."""
        del self.state[partition]

    async def __call__(self, batch: Batch) -> None:
        """Add; a bad number leaves the sum half done, as a crash in the middle would."""
        for envelope in batch.envelopes:
            number = int(envelope.id.partition(":")[2])
            self.state[batch.partition] += number
            if number in self.trouble:
                self.trouble.remove(number)
                raise Transient("not now")
            if number in self.poison:
                raise Poison("never")
        if not batch.envelopes or batch.next_offset % self._every == 0:
            self.stored[batch.partition] = (batch.next_offset, self.state[batch.partition])


async def test_a_stored_position_wins_over_the_committed_one(open_log: OpenLog) -> None:
    topic, stage = make_topic(partitions=1), Sum(every=4)
    place = Partition(topic.name, 0)
    subscription = subscribe(topic, stage, positions=stage, owner=stage, each=True)
    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(10)))
        async with running(make_engine(log, subscription)):
            await until(lambda: stage.state.get(place) == sum(range(10)))
        assert stage.stored[place] == (8, sum(range(8)))
        assert place not in stage.state
        await log.append(facts(topic, ["gate"], range(10, 12)))
        async with running(make_engine(log, subscription)):
            await until(lambda: stage.stored[place][0] == 12)
    assert stage.stored[place] == (12, sum(range(12)))


async def test_a_failed_batch_of_a_stateful_stage_goes_back_to_its_state(
    open_log: OpenLog,
) -> None:
    topic, stage = make_topic(partitions=1), Sum(every=5)
    place = Partition(topic.name, 0)
    stage.trouble, stage.poison = [7, 7, 12], {13}
    async with open_log([topic]) as log:
        await log.append(facts(topic, ["gate"], range(20)))
        engine = make_engine(log, subscribe(topic, stage, positions=stage, owner=stage))
        async with running(engine):
            await until(lambda: stage.stored.get(place, (0, 0))[0] == 20)
        assert [letter.offset for letter in await dead_letters(log, topic)] == [13]
    assert stage.stored[place] == (20, sum(range(20)) - 13)


async def test_r10_a_stateful_stage_stores_the_position_after_a_dead_letter(
    open_log: OpenLog,
) -> None:
    topic, stage = make_topic(partitions=1), Sum(every=100)
    place = Partition(topic.name, 0)
    stage.poison = {2}
    subscription = subscribe(topic, stage, positions=stage, owner=stage)
    async with open_log([topic]) as log:
        await log.append([*facts(topic, ["gate"], range(3)), garbage(topic, "gate")])
        async with running(make_engine(log, subscription)):
            await until(lambda: place in stage.stored and stage.stored[place][0] == 4)
        async with running(make_engine(log, subscription)):
            await asyncio.sleep(0.5)
        assert [letter.offset for letter in await dead_letters(log, topic)] == [2, 3]
    assert stage.stored[place] == (4, 1)


async def test_a_table_is_ready_when_it_reached_the_end(open_log: OpenLog) -> None:
    topic, seen, opened = make_topic("compacted", partitions=1), Seen(), asyncio.Event()

    async def handle(batch: Batch) -> None:
        await opened.wait()
        await seen(batch)

    async with open_log([topic]) as log:
        await log.append(facts(topic, KEYS, range(2)))
        engine = make_engine(log, subscribe(topic, handle, kind="table"))
        async with running(engine):
            await until(lambda: engine.health().details["lag"])
            assert not engine.caught_up
            assert engine.health().status == "degraded"
            opened.set()
            await until(lambda: engine.caught_up)
            assert len(seen.ids) == 10
        again = Seen()
        engine = make_engine(log, subscribe(topic, again, kind="table"))
        async with running(engine):
            await until(lambda: engine.caught_up)
    assert sorted(again.ids) == sorted(f"{key}:{number}" for number in range(2) for key in KEYS)


async def test_an_empty_table_is_ready_at_once(open_log: OpenLog) -> None:
    topic = make_topic("compacted", partitions=1)
    async with open_log([topic]) as log:
        engine = make_engine(log, subscribe(topic, Seen(), kind="table"))
        async with running(engine):
            await until(lambda: engine.caught_up)


async def test_a_table_sees_a_tombstone(open_log: OpenLog) -> None:
    topic = make_topic("compacted", partitions=1)
    table: dict[str, object] = {}

    async def handle(batch: Batch) -> None:
        for envelope in batch.envelopes:
            if envelope.event is None:
                table.pop(envelope.key)
            else:
                table[envelope.key] = envelope.event

    async with open_log([topic]) as log:
        await log.append([fact(topic, "gate", 1), fact(topic, "yard", 1)])
        async with running(make_engine(log, subscribe(topic, handle, kind="table"))):
            await until(lambda: set(table) == {"gate", "yard"})
            await log.append([tombstone(topic, "gate")])
            await until(lambda: set(table) == {"yard"})


class Skips:
    """Counts what was skipped."""

    def __init__(self) -> None:
        self.count = 0

    def skipped(self, group: str, topic: str, count: int) -> None:
        """See `BusMetrics.skipped`."""
        self.count += count

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


async def test_a_slow_tail_skips_and_counts(open_log: OpenLog) -> None:
    topic, seen, skips = make_topic(partitions=1), Seen(waits=0.05), Skips()
    async with open_log([topic]) as log:
        engine = make_engine(
            log, subscribe(topic, seen, kind="tail", max_batch=5, each=True), observe=skips
        )
        async with running(engine):
            await until(lambda: engine.caught_up)
            for start in range(0, 300, 50):
                await log.append(facts(topic, ["gate"], range(start, start + 50)))
            await until(lambda: seen.ids[-1:] == ["gate:299"])
    assert skips.count > 100
    assert len(seen.ids) + skips.count == 300
    assert seen.of("gate") == sorted(seen.of("gate"))
