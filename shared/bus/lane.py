"""One partition in work: what waits, what is finished, what is tried alone."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import msgspec

from schemas.cloudevents import Undecodable, decode
from schemas.event import Envelope
from shared.bus.dead_letters import Failure, returned_to
from shared.bus.port import Batch, Partition, Record, Unfinished
from shared.bus.retry import Backoff


class Work(msgspec.Struct):
    """Consecutive records and what they decode to; or a single one that does not, with the reason."""

    records: Sequence[Record]
    batch: Batch
    error: Undecodable | None = None


class Lane:
    """The finished prefix of a partition is everything below `done`; `queue` holds what was fetched after it."""

    def __init__(self, partition: Partition, backoff: Backoff, group: str = "") -> None:
        self._group = group
        self.partition = partition
        self.backoff = backoff
        self.queue: deque[Record] = deque()
        self.news = asyncio.Event()
        self.worker: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()
        self.paused = False
        self.busy = False
        self.sound = True  # what a stateful stage holds in memory is what `done` says
        self.done = -1
        self.committed = -1
        self.lag = 0
        self.cuts = 0  # handlers that were cut off: slow, yet not stuck
        self.turn = 0  # moves when records come or reading goes back
        self._expected = -1
        self._alone_below = -1
        self._parked: set[int] = set()
        self._failures: dict[int, Failure] = {}

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in work."""
        return not self.busy and not self.queue

    def close(self) -> None:
        """Hand nothing over any more; what waits is left to the next owner."""
        self.closing.set()
        self.news.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the lane is open."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()

    def put(self, records: Sequence[Record]) -> int:
        """Records were fetched; returns how many were missing before and between them."""
        self.turn += 1
        self.queue.extend(records)
        self.news.set()
        before = self._expected if self._expected >= 0 else records[0].offset
        self._expected = records[-1].offset + 1
        return self._expected - before - len(records)

    def take(self, limit: int) -> Work | None:
        """The next records to handle: up to `limit`, one where a batch failed before.

        A record that was parked, or that returned for another group, comes as a batch without envelopes.
        """
        if not self.queue:
            return None
        if self._passes_over(self.queue[0]):
            record = self.queue.popleft()
            return Work((record,), Batch(self.partition, (), record.offset + 1))
        if self.queue[0].offset < self._alone_below:
            limit = 1
        envelopes: dict[str, Envelope] = {}
        records: list[Record] = []
        while self.queue and len(records) < limit and not self._passes_over(self.queue[0]):
            try:
                envelope = _decoded(self.queue[0])
            except Undecodable as error:
                if records:
                    break
                bad = self.queue.popleft()
                return Work((bad,), Batch(self.partition, (), bad.offset + 1), error)
            envelopes.setdefault(envelope.id, envelope)
            records.append(self.queue.popleft())
        batch = Batch(self.partition, tuple(envelopes.values()), records[-1].offset + 1)
        return Work(records, batch)

    def _passes_over(self, record: Record) -> bool:
        return record.offset in self._parked or returned_to(record) not in (None, self._group)

    def finish(self, next_offset: int) -> None:
        """Everything below `next_offset` has had its effect."""
        self.done = next_offset
        self.backoff.reset()
        self._failures = {o: f for o, f in self._failures.items() if o >= next_offset}

    def settled(self, unfinished: Unfinished | None) -> int:
        """The offset that may be committed: all below it has had its effect."""
        first = unfinished(self.partition) if unfinished is not None else None
        return self.done if first is None else min(self.done, first)

    def skip_to(self, position: int, turn: int | None) -> bool:
        """Nothing is kept between the last record and `position`, if the lane was idle since `turn`."""
        if not self.idle or turn != self.turn or position <= self.done:
            return False
        self.done = position
        return True

    def again(self, records: Sequence[Record]) -> None:
        """Try these again, first of all."""
        self.queue.extendleft(reversed(records))

    def alone(self, records: Sequence[Record]) -> None:
        """Try these again one by one: one of them is bad."""
        self._alone_below = records[-1].offset + 1
        self.again(records)

    def failed(self, record: Record, error: Exception, *, group: str, now: int) -> Failure:
        """What is known of this record's failures, this one counted."""
        before = self._failures.get(record.offset)
        self._failures[record.offset] = Failure(
            error=error,
            group=group,
            attempt=before.attempt + 1 if before else 1,
            first_seen=before.first_seen if before else now,
            parked_at=now,
        )
        return self._failures[record.offset]

    def park(self, record: Record) -> None:
        """It is a dead letter now: never hand it over again, also after going back."""
        self._parked.add(record.offset)

    def go_back(self, offset: int) -> None:
        """Reading starts again at `offset`: forget what waits."""
        self.turn += 1
        self.queue.clear()
        self.done = offset
        self.committed = min(self.committed, offset)
        self._expected = -1

    def drop_oldest(self, keep: int) -> int:
        """Drop what waits longest; returns how many records went."""
        dropped = max(0, len(self.queue) - keep)
        for _ in range(dropped):
            self.queue.popleft()
        return dropped


def _decoded(record: Record) -> Envelope:
    return decode(
        record.partition.topic,
        record.key or "",
        record.headers,
        record.value,
        picture=record.picture,
        partition=record.partition.number,
        offset=record.offset,
    )
