"""The engine: at-least-once handling of one subscription, the same on every adapter.

Each partition is a `Lane` with one worker: batches are handled strictly in order, partitions run beside each other,
and a full lane pauses its partition while the membership is kept alive. Offsets are committed after the effect. What
cannot be handled is retried, found out record by record, and parked; too many dead letters stop the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from typing import TYPE_CHECKING

import structlog

from schemas.cloudevents import Undecodable
from shared import telemetry
from shared.bus.dead_letters import Failure, TripWire, letter
from shared.bus.engine.calls import Hung, outcome
from shared.bus.lane import Lane, Work
from shared.bus.metrics import BusMetrics, Unmeasured
from shared.bus.port import CommitRefused, Log, Offsets, Partition, Reader, Record, Subscription
from shared.bus.progress import Progress
from shared.bus.retry import Backoff, persist
from shared.bus.settings import BusSettings as BusSettings
from shared.bus.stages import load_stage
from shared.errors import Poison, Transient

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shared.clock import Clock
    from shared.service import Health

log = structlog.get_logger(__name__)

PASSING = (Transient, TimeoutError, ConnectionError)  # errors that another try may not meet
PICTURES = 32  # that wait in a lane; the others wait in their topic's ring, where the newest win
JOINING = 2.0  # seconds that a drain waits beyond its budget for a log that does not answer


class Engine:
    """Runs one subscription as `member` of its group. `publisher_log` takes the dead letters."""

    def __init__(
        self,
        log: Log,
        subscription: Subscription,
        *,
        service: str,
        member: str,
        publisher_log: Log,
        clock: Clock,
        settings: BusSettings | None = None,
        observe: BusMetrics | None = None,
    ) -> None:
        self._log = log
        self._sub = subscription
        self._service = service
        self._member = subscription.member(member)
        self._dead_letters = publisher_log
        self._clock = clock
        self._settings = dataclasses.replace(settings or BusSettings(), **subscription.options)
        self._observe = observe or Unmeasured()
        self._stateful = subscription.positions is not None or subscription.owner is not None
        self._ephemeral = {t.name for t in subscription.topics if t.kind == "ephemeral"}
        self._room = min(subscription.max_batch, PICTURES if self._ephemeral else 1_000_000)
        self._random = random.Random()  # noqa: S311 -- jitter, not a secret
        self._trip = TripWire(int(self._settings.trip_limit), int(self._settings.trip_window))
        self._lanes: dict[Partition, Lane] = {}
        self._progress = Progress(subscription.kind, self._settings.stuck)
        self._finished = asyncio.Event()
        self._committing = asyncio.Lock()
        self._draining = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()

    async def run(self) -> None:
        """Read and handle until drained or cancelled; cancelling cuts handlers off.

        Raises:
            Fenced: another process joined under this member's name.
            Exception: an adapter or a stage's owner failed; it may be called again.
        """
        self._over.clear()
        self._leaving = False
        self._budget = self._settings.drain
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            patience = Backoff(self._settings.retry_base, self._settings.join_cap, self._random)
            self._reader = await persist(self._join, patience, group=self._sub.group)
            roles = (self._intake, self._commits, self._watch, self._until_drained)
            jobs = [asyncio.create_task(role()) for role in roles]
            try:
                await asyncio.wait([*jobs, self._failed], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                self._budget = 0.0
                raise
            finally:
                await self._wind_up(jobs)
            for job in (*jobs, self._failed):
                if job.done() and not job.cancelled():
                    job.result()
        finally:
            self._over.set()

    async def drain(self, budget: float) -> None:
        """Stop taking in, finish batches in work within `budget` seconds, commit, leave; `run` then returns."""
        self._budget = budget
        self._draining.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget + JOINING):
                await self._over.wait()

    @property
    def caught_up(self) -> bool:
        """A table has read everything that was there when it started; the other kinds have joined."""
        return self._progress.caught_up

    @property
    def lanes(self) -> Collection[Lane]:
        """The partitions in work."""
        return self._lanes.values()

    def health(self) -> Health:
        """Unhealthy when dead letters tripped it, or where a partition has lag and no progress for a minute."""
        return self._progress.health(self.lanes, self._clock.monotonic(), self._trip.reason)

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.assigned`: a stateful stage loads first, its partition is paused meanwhile."""
        for partition in () if self._leaving else partitions:
            self._open(partition)

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.revoked`: stop intake, finish within the budget, checkpoint, commit, forget."""
        lanes = [self._lanes[partition] for partition in partitions if partition in self._lanes]
        await self._finish(lanes)
        for lane in lanes:
            owner, lane.sound = self._sub.owner if lane.sound else None, False
            if owner and (error := await outcome(owner.revoked(lane.partition))):
                log.error("not_checkpointed", partition=lane.partition, reason=repr(error))
        await self._commit(lanes)
        for lane in lanes:
            self._lanes.pop(lane.partition, None)
            self._progress.forget(lane.partition)

    async def _join(self) -> Reader:
        sub = self._sub
        return await self._log.reader(
            sub.topics, kind=sub.kind, group=sub.group, member=self._member, listener=self
        )

    async def _finish(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            lane.close()
        workers = {lane.worker: lane for lane in lanes if lane.worker is not None}
        if not workers:
            return
        _, late = await asyncio.wait(workers, timeout=self._budget)
        for worker in late:
            if (lane := workers[worker]).busy:
                lane.sound = False
                log.warning("batch_cut_off", partition=lane.partition, budget=self._budget)
            worker.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _open(self, partition: Partition) -> Lane:
        lane = Lane(partition, self._backoff(), self._sub.group)
        self._lanes[partition] = lane
        lane.sound = not self._stateful
        self._steer(lane)
        lane.worker = asyncio.create_task(self._work(lane))
        lane.worker.add_done_callback(self._worker_ended)
        return lane

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled() and (error := worker.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    async def _until_drained(self) -> None:
        await self._draining.wait()

    async def _wind_up(self, jobs: Iterable[asyncio.Task[None]]) -> None:
        self._leaving = True
        try:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await self.revoked(list(self._lanes))
        finally:  # a reader that is left open stays a member of its group and keeps its successor from its partitions
            await self._reader.close()

    async def _intake(self) -> None:
        backoff, most = self._backoff(), 2 * self._room
        while True:
            try:
                found = await self._reader.fetch(max_records=most, timeout=self._settings.poll)
            except Transient as error:
                log.warning("log_away", group=self._sub.group, reason=str(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            for partition, records in found.items():
                self._accept(partition, records)

    def _accept(self, partition: Partition, records: Sequence[Record]) -> None:
        lane = self._lanes.get(partition) or self._open(partition)
        missing = lane.put(records)
        skipped = missing if partition.topic in self._ephemeral else 0
        if self._sub.kind == "tail":
            skipped += lane.drop_oldest(self._room)
        if skipped > 0:
            self._observe.skipped(self._sub.group, partition.topic, skipped)
        self._steer(lane)

    def _steer(self, lane: Lane) -> None:
        """Pause the partition of a lane that is full, still loading or stopped; a tail is never full."""
        waiting = len(lane.queue)
        full = waiting >= self._room or (lane.paused and waiting > self._room // 2)
        pause = self._trip.tripped or not lane.sound or (full and self._sub.kind != "tail")
        if pause and not lane.paused:
            self._reader.pause([lane.partition])
        elif lane.paused and not pause:
            self._reader.resume([lane.partition])
        lane.paused = pause

    async def _work(self, lane: Lane) -> None:
        structlog.contextvars.bind_contextvars(
            service=self._service, group=self._sub.group, partition=list(lane.partition)
        )
        if self._stateful:
            await self._load(lane)
        while not lane.closing.is_set() and not self._trip.tripped:
            work = lane.take(1 if self._sub.each else self._room)
            if work is None:
                lane.news.clear()
                await lane.news.wait()
                continue
            self._steer(lane)
            lane.busy = True
            try:
                await self._handle(lane, work)
            finally:
                lane.busy = False

    async def _handle(self, lane: Lane, work: Work) -> None:
        started = self._clock.monotonic()
        error = work.error or await self._called(lane, work)
        if error is None:
            self._done(lane, work, self._clock.monotonic() - started)
            return
        empty = not work.batch.envelopes and work.error is None
        if isinstance(error, PASSING) or empty:
            await self._later(lane, work, error)
        elif len(work.records) > 1:
            log.warning("batch_failed", records=len(work.records), reason=repr(error))
            lane.alone(work.records)
        else:
            await self._alone(lane, work, error)
        if self._stateful:
            await self._load(lane)

    async def _called(self, lane: Lane, work: Work) -> Exception | None:
        if not work.batch.envelopes and self._sub.positions is None:
            return None
        call = telemetry.within(self._sub.handler, work.batch)
        error = await outcome(call, None if self._ephemeral else self._settings.hang)
        lane.cuts += isinstance(error, Hung)
        return error

    def _done(self, lane: Lane, work: Work, seconds: float) -> None:
        count = len(work.batch.envelopes)
        self._observe.handled(self._sub.group, lane.partition.topic, count, seconds)
        self._trip.passed(count)
        lane.finish(work.batch.next_offset)
        self._finished.set()

    async def _later(self, lane: Lane, work: Work, error: Exception) -> None:
        lane.again(work.records)
        wait = lane.backoff.next()
        self._observe.retried(self._sub.group, lane.partition.topic, type(error).__name__)
        log.warning("will_retry", reason=str(error), wait=wait, offset=work.records[0].offset)
        await lane.sleep(wait)

    async def _alone(self, lane: Lane, work: Work, error: Exception) -> None:
        record = work.records[0]
        failure = lane.failed(record, error, group=self._sub.group, now=self._clock.now())
        known = isinstance(error, Poison | Undecodable)
        if not known and failure.attempt < self._settings.tries:
            await self._later(lane, work, error)
            return
        if self._buries(lane) and not await self._bury(lane, record, failure):
            lane.again(work.records)
            return
        trace = {} if known else {"exc_info": error}
        log.error("record_parked", offset=record.offset, reason=repr(error), **trace)
        self._observe.parked(self._sub.group, lane.partition.topic, type(error).__name__)
        lane.park(record)
        self._trip.parked()
        if self._sub.positions is None:  # else it is met again, as a batch without envelopes
            lane.finish(work.batch.next_offset)
            self._finished.set()
        if self._trip.tripped:
            log.critical("engine_stopped", reason=self._trip.reason)
            for other in self.lanes:
                self._steer(other)
                other.news.set()

    def _buries(self, lane: Lane) -> bool:
        """What is ephemeral is passed over: a frame must not outlive its topic among the dead letters."""
        return self._sub.kind == "group" and lane.partition.topic not in self._ephemeral

    async def _bury(self, lane: Lane, record: Record, failure: Failure) -> bool:
        """Write the dead letter; True once it is acknowledged, False when the partition is given up before."""
        backoff = self._backoff()
        while not lane.closing.is_set():
            try:
                await self._dead_letters.append([letter(record, failure)])
            except Transient as refusal:
                log.warning("dead_letter_refused", reason=str(refusal), offset=record.offset)
                await lane.sleep(backoff.next())
            else:
                return True
        return False

    async def _load(self, lane: Lane) -> None:
        """Load a stateful stage's state and go to the position that belongs to it."""
        lane.sound = False
        self._steer(lane)
        while not lane.closing.is_set():
            try:
                start = await load_stage(self._sub, lane.partition)
            except Transient as error:
                log.warning("state_not_loaded", reason=str(error))
                await lane.sleep(lane.backoff.next())
                continue
            if start is not None:
                await self._reader.seek(lane.partition, start)
                lane.go_back(start)
            lane.sound = True
            self._steer(lane)
            return

    async def _commits(self) -> None:
        while True:
            await self._finished.wait()
            self._finished.clear()
            await self._commit(list(self._lanes.values()))
            await asyncio.sleep(self._settings.commit_every)

    async def _commit(self, lanes: Iterable[Lane]) -> None:
        ours = lanes if self._sub.kind == "group" else ()
        async with self._committing:
            settled = [(lane, lane.settled(self._sub.unfinished)) for lane in ours]
            ahead = [(lane, offset) for lane, offset in settled if offset > lane.committed]
            if not ahead:
                return
            try:
                await self._reader.commit({lane.partition: offset for lane, offset in ahead})
            except CommitRefused as refusal:
                # Another member has them now; whatever we did since its start, ids or positions tell it.
                log.warning("commit_refused", group=self._sub.group, reason=str(refusal))
                for lane, _ in ahead:
                    lane.close()
            except Transient as error:
                log.warning("commit_failed", group=self._sub.group, reason=str(error))
                self._finished.set()
            else:
                for lane, offset in ahead:
                    lane.committed = offset

    async def _watch(self) -> None:
        while True:
            self._progress.member(self._reader.joined, self._clock.monotonic())
            quiet = {lane.partition: lane.turn for lane in self.lanes if lane.idle}
            try:
                ends, positions = await self._reader.ends(), await self._reader.positions()
            except Transient as error:
                log.warning("log_away", group=self._sub.group, reason=str(error))
                await asyncio.sleep(self._settings.watch_every)
                continue
            self._measure(ends, positions, quiet)
            self._progress.reach(ends, positions, self.lanes)
            await asyncio.sleep(self._settings.watch_every if self.caught_up else 0.02)

    def _measure(self, ends: Offsets, positions: Offsets, quiet: Offsets) -> None:
        for partition, lane in self._lanes.items():
            skipped = lane.skip_to(positions.get(partition, -1), quiet.get(partition))
            if skipped or lane.done > lane.committed:
                self._finished.set()
            self._progress.look(lane, ends.get(partition, 0), self._clock.monotonic())
            self._observe.lag(self._sub.group, partition.topic, partition.number, lane.lag)

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_base, self._settings.retry_cap, self._random)
