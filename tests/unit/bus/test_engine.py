"""The engine's own decisions that no adapter has a say in; on the memory log."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from schemas.event import Envelope
from shared.bus.engine import PICTURES
from shared.bus.memory import open_memory
from shared.bus.port import Batch, CommitRefused, Log, Offsets, Partition, Reader
from shared.errors import Poison
from tests.contract.bus import (
    Seen,
    dead_letters,
    fact,
    facts,
    garbage,
    make_engine,
    make_topic,
    running,
    subscribe,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_two_subscriptions_of_one_group_do_not_fence_each_other() -> None:
    one, two, seen = make_topic(), make_topic(), Seen()
    async with open_memory([one, two]) as log:
        engines = [make_engine(log, subscribe(topic, seen)) for topic in (one, two)]
        async with running(*engines):
            await log.append([fact(one, "gate", 1), fact(two, "gate", 2)])
            await until(lambda: sorted(seen.of("gate")) == [1, 2])


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError])
async def test_a_network_error_is_tried_until_it_passes(error: type[Exception]) -> None:
    topic, left = make_topic(), [8]

    def fails(envelope: Envelope) -> None:
        left[0] -= 1
        if left[0] > 0:
            raise error

    seen = Seen(fails)
    async with open_memory([topic]) as log:
        async with running(make_engine(log, subscribe(topic, seen))):
            await log.append([fact(topic, "gate", 1)])
            await until(lambda: seen.ids)
        assert not await dead_letters(log, topic)


async def test_a_batch_is_searched_for_the_bad_record_only_once() -> None:
    topic = make_topic(partitions=1)

    def fails(envelope: Envelope) -> None:
        if envelope.id == "gate:5":
            raise Poison("bad")

    seen = Seen(fails)
    async with open_memory([topic]) as log:
        await log.append(facts(topic, ["gate"], range(20)))
        async with running(make_engine(log, subscribe(topic, seen, max_batch=10))):
            await until(lambda: len(seen.ids) == 19)
    assert [len(batch.envelopes) for batch in seen.batches] == [10, *[1] * 10, 10]


async def test_each_hands_over_one_at_a_time() -> None:
    topic, seen = make_topic(partitions=1), Seen()
    async with open_memory([topic]) as log:
        await log.append(facts(topic, ["gate"], range(5)))
        async with running(make_engine(log, subscribe(topic, seen, each=True))):
            await until(lambda: len(seen.ids) == 5)
    assert [len(batch.envelopes) for batch in seen.batches] == [1] * 5


async def test_a_table_passes_over_what_it_cannot_digest() -> None:
    topic, seen = make_topic("compacted", partitions=1), Seen()
    async with open_memory([topic]) as log:
        await log.append([garbage(topic, "gate"), fact(topic, "yard", 1)])
        engine = make_engine(log, subscribe(topic, seen, kind="table"))
        async with running(engine):
            await until(lambda: engine.caught_up)
        assert not await dead_letters(log, topic)
    assert seen.ids == ["yard:1"]


async def test_a_bad_frame_is_passed_over_and_leaves_no_letter() -> None:
    topic, seen = make_topic("ephemeral", partitions=1), Seen()
    async with open_memory([topic]) as log:
        await log.append([garbage(topic, "gate"), fact(topic, "yard", 1)])
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: seen.ids == ["yard:1"])


async def test_few_frames_wait_for_a_slow_handler() -> None:
    topic, opened = make_topic("ephemeral", partitions=1), asyncio.Event()

    async def handle(batch: Batch) -> None:
        await opened.wait()

    async with open_memory([topic]) as log:
        engine = make_engine(log, subscribe(topic, handle))
        async with running(engine):
            for start in range(0, 1_000, 10):
                await log.append(facts(topic, ["gate"], range(start, start + 10)))
            await until(lambda: any(lane.paused for lane in engine.lanes))
            assert max(len(lane.queue) for lane in engine.lanes) <= 3 * PICTURES
            opened.set()


async def test_unknown_options_are_refused() -> None:
    async with open_memory([topic := make_topic()]) as log:
        with pytest.raises(TypeError, match="patience"):
            make_engine(log, subscribe(topic, Seen(), options={"patience": 1.0}))


async def test_a_handler_that_does_not_finish_in_the_budget_is_cut_off_and_not_committed() -> None:
    topic, started = make_topic(partitions=1), asyncio.Event()

    async def hang(batch: Batch) -> None:
        started.set()
        await asyncio.sleep(60)

    again = Seen()
    async with open_memory([topic]) as log:
        await log.append([fact(topic, "gate", 1)])
        engine = make_engine(log, subscribe(topic, hang))
        run = asyncio.create_task(engine.run())
        await started.wait()
        async with asyncio.timeout(2):
            await engine.drain(0.1)
            await run
        async with running(make_engine(log, subscribe(topic, again))):
            await until(lambda: again.ids == ["gate:1"])


async def test_cancelling_cuts_off_at_once_and_commits_what_is_finished() -> None:
    topic, seen, again = make_topic(partitions=1), Seen(waits=0.05), Seen()
    async with open_memory([topic]) as log:
        await log.append(facts(topic, ["gate"], range(20)))
        run = asyncio.create_task(make_engine(log, subscribe(topic, seen, each=True)).run())
        await until(lambda: len(seen.ids) == 3)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        async with running(make_engine(log, subscribe(topic, again))):
            await until(lambda: len(again.ids) == 17)
    assert seen.ids + again.ids == [f"gate:{n}" for n in range(20)]


async def test_cancelled_again_while_it_winds_up_it_still_leaves_the_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a watchdog does while a commit waits for a broker that does not answer."""
    topic, seen = make_topic(partitions=1), Seen()
    commits, left = [], asyncio.Event()
    async with open_memory([topic]) as log:
        open_reader = log.reader

        async def reader(*arguments: object, **more: object) -> Reader:
            found = await open_reader(*arguments, **more)  # type: ignore[arg-type]  # passed on
            close = found.close

            async def commit(offsets: Offsets) -> None:
                commits.append(offsets)
                await asyncio.Event().wait()

            async def leave() -> None:
                await close()
                left.set()

            monkeypatch.setattr(found, "commit", commit)
            monkeypatch.setattr(found, "close", leave)
            return found

        monkeypatch.setattr(log, "reader", reader)
        await log.append([fact(topic, "gate", 1)])
        run = asyncio.create_task(make_engine(log, subscribe(topic, seen)).run())
        await until(lambda: len(commits) == 1)
        run.cancel()
        await until(lambda: len(commits) == 2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert left.is_set()


class Owner:
    """A stage whose state cannot be loaded, by a mistake of its own."""

    async def assigned(self, partition: Partition) -> None:
        """See `Owner.assigned`."""
        raise LookupError("no such table")

    async def revoked(self, partition: Partition) -> None:
        """See `Owner.revoked`."""


async def test_a_stage_that_cannot_load_ends_the_run_with_its_error() -> None:
    async with open_memory([topic := make_topic()]) as log:
        engine = make_engine(log, subscribe(topic, Seen(), owner=Owner()))
        with pytest.raises(LookupError, match="no such table"):
            async with asyncio.timeout(5):
                await engine.run()


async def test_it_runs_again_after_it_failed() -> None:
    topic, seen = make_topic(), Seen()
    owner = Owner()
    async with open_memory([topic]) as log:
        engine = make_engine(log, subscribe(topic, seen, owner=owner))
        with pytest.raises(LookupError):
            await engine.run()
        owner.assigned = owner.revoked  # type: ignore[method-assign]  # mended
        async with running(engine):
            await log.append([fact(topic, "gate", 1)])
            await until(lambda: seen.ids)


class Refuser:
    """A log whose readers may not commit, as after a rebalance that nobody told of."""

    def __init__(self, log: Log) -> None:
        self.append = log.append
        self.check = log.check
        self.close = log.close
        self.refused = 0
        self._log = log

    async def reader(self, *arguments: object, **more: object) -> Reader:
        """See `Log.reader`."""
        reader = await self._log.reader(*arguments, **more)  # type: ignore[arg-type]  # passed on

        async def commit(offsets: Offsets) -> None:
            self.refused += 1
            raise CommitRefused("rebalanced")

        reader.commit = commit  # type: ignore[method-assign]  # the one that refuses
        return reader


async def test_a_refused_commit_is_not_fatal_and_stops_the_partitions_work() -> None:
    topic, seen = make_topic(partitions=1), Seen()
    async with open_memory([topic]) as inner:
        log = Refuser(inner)
        engine = make_engine(log, subscribe(topic, seen, each=True))
        async with running(engine):
            await inner.append([fact(topic, "gate", 1)])
            await until(lambda: log.refused)
            await inner.append([fact(topic, "gate", 2)])
            await asyncio.sleep(0.2)
            assert seen.of("gate") == [1]


class Watched:
    """Remembers what was measured."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Sequence[object]]] = []

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: self.calls.append((name, arguments))


async def test_what_happens_is_measured() -> None:
    topic, watched = make_topic(partitions=1), Watched()

    def fails(envelope: Envelope) -> None:
        if envelope.id == "gate:1":
            raise Poison("bad")

    seen = Seen(fails)
    async with open_memory([topic]) as log:
        await log.append(facts(topic, ["gate"], range(3)))
        engine = make_engine(log, subscribe(topic, seen), observe=watched)
        async with running(engine):
            await until(lambda: len(seen.ids) == 2 and not engine.health().details["lag"])
    group = f"g-{topic.name}"
    handled = [arguments for name, arguments in watched.calls if name == "handled"]
    assert sum(int(str(arguments[2])) for arguments in handled) == 2
    assert ("parked", (group, topic.name, "Poison")) in watched.calls
    assert ("lag", (group, topic.name, 0, 0)) in watched.calls
