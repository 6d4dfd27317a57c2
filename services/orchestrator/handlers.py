"""Events in, effects out: detections and answers through their stages, cameras into plans, rules into knowledge.

High-rate facts are said directly; incidents, alerts, their rows and the checkpoint stand in one transaction. A
crash between the two says the facts of the replayed second once more, under the same ids.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import msgspec
import structlog

from schemas import topics
from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_configured import CameraConfigured
from schemas.events.detections_made import DetectionsMade
from schemas.events.incident_changes import IncidentMoved, IncidentOpened
from schemas.events.plan_decided import PlanDecided
from schemas.events.rule_defined import RuleDefined
from schemas.events.stream_marks import StreamClosed
from services.orchestrator import store
from services.orchestrator.across import AcrossStage
from services.orchestrator.domain import plan
from services.orchestrator.stage import CameraStage, Effects, Mark
from shared.ids import derived
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.event import Envelope, Event
    from services.orchestrator.knowledge import Knowledge
    from shared.bus.port import Batch, Partition, Publisher
    from shared.clock import Clock
    from shared.db.checkpoints import Checkpoints
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.metrics import Stage as Reached
    from shared.traces.port import Spans

log = structlog.get_logger(__name__)

GROUP = "orchestrator"
ACROSS = f"{GROUP}-{topics.PREDICATES.name}"


class Stage(Protocol):
    """One partition's events in order, effects as values; its state is a value."""

    def handle(self, envelope: Envelope, *, now: int) -> Effects:
        """Take in the next event."""
        ...

    def dump(self) -> bytes:
        """The whole state."""
        ...

    def load(self, state: bytes) -> None:
        """Take over a dump."""
        ...


S = TypeVar("S", bound=Stage)


class StageHandler(ABC, Generic[S]):
    """Runs a stage per partition and applies what it says; owns the stages' state."""

    group: ClassVar[str]

    def __init__(
        self,
        database: Database,
        checkpoints: Checkpoints,
        publisher: Publisher,
        clock: Clock,
        *,
        knowledge: Knowledge,
        metrics: Metrics,
        spans: Spans | None = None,
        interval_s: float,
    ) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._publisher = publisher
        self._clock = clock
        self._knowledge = knowledge
        self._metrics = metrics
        self._spans = spans or Traces().of("orchestrator", clock)
        self._interval = interval_s
        self._lanes: dict[Partition, _Lane[S]] = {}

    @abstractmethod
    def make(self, knowledge: Knowledge) -> S:
        """A stage that has heard nothing yet."""

    def measure(self, batch: Batch, stage: S, seconds: float) -> None:
        """Metrics of a batch that took so long."""

    async def assigned(self, partition: Partition) -> None:
        """Load the partition's stage as of its stored position."""
        stage = self.make(self._knowledge)
        state = await self._checkpoints.state(self.group, partition)
        if state is not None:
            stage.load(state)
        self._lanes[partition] = _Lane(stage, self._clock.monotonic())

    async def revoked(self, partition: Partition) -> None:
        """Checkpoint what was done since the last one, then forget."""
        lane = self._lanes.pop(partition, None)
        if lane is None:
            return
        if lane.next_offset is not None:
            await self._save(partition, lane, lane.next_offset, [])
        for camera in lane.cameras:
            self._forget(camera)

    async def __call__(self, batch: Batch) -> None:
        """Take a batch through the stage, in order.

        Raises:
            Poison: an event cannot be digested.
            CommitRefused: another process has gone on with this partition.
        """
        lane = self._lanes[batch.partition]
        effects, started = Effects(), self._clock.monotonic()
        for envelope in batch.envelopes:
            effects.add(self._take(lane, envelope))
            await asyncio.sleep(0)  # a backlog must not keep the loop from everybody else
        self.measure(batch, lane.stage, self._clock.monotonic() - started)
        self._tell(effects)
        await self._publisher.publish(effects.fast)
        self._reached("tracks", batch.envelopes)
        lane.next_offset = batch.next_offset
        if effects.incidents or self._clock.monotonic() - lane.saved >= self._interval:
            await self._save(batch.partition, lane, batch.next_offset, effects.incidents)
            self._reached("incident", effects.incidents)

    def _take(self, lane: _Lane[S], envelope: Envelope) -> Effects:
        started, under = self._clock.now(), self._spans.under(envelope)
        effects = lane.stage.handle(under, now=started)
        if isinstance(envelope.event, DetectionsMade | Mark):
            lane.cameras.add(envelope.key)
            self._follow(envelope.key, envelope.event)
        if effects.incidents or isinstance(envelope.event, DetectionsMade):
            self._spans.tell(
                "evaluate", under.traceparent, envelope.traceparent, started,
                always=bool(effects.incidents), vantage_camera=envelope.key, vantage_event=envelope.id,
            )  # fmt: skip
        if effects.late:
            self._metrics.late_events.labels(envelope.key).inc(effects.late)
        return effects

    def _follow(self, camera: str, event: DetectionsMade | Mark) -> None:
        """Keep the camera's watermark; a stream that is over has none."""
        if isinstance(event, StreamClosed):
            self._forget(camera)
        else:
            self._metrics.watermarks.touch(camera, event.at)

    def _forget(self, camera: str) -> None:
        self._metrics.watermarks.forget(camera)
        self._metrics.tracks_live.remove(camera)

    def _reached(self, stage: Reached, envelopes: Iterable[Envelope]) -> None:
        now = self._clock.now()
        for envelope in envelopes:
            event = envelope.event
            if isinstance(event, DetectionsMade):
                self._metrics.reached(stage, event.captured_at, now)
            elif isinstance(event, IncidentOpened):
                self._metrics.reached(stage, event.matched_at, now)

    async def _save(
        self, partition: Partition, lane: _Lane[S], next_offset: int, said: list[Envelope]
    ) -> None:
        """Checkpoint, rows and outbox together. The checkpoint first: who has lost the partition learns it there."""
        async with self._database.transaction() as tx:
            state = lane.stage.dump()
            await self._checkpoints.save(tx, self.group, partition, next_offset, state)
            await store.apply(tx, said)
            await tx.add(said)
        lane.saved, lane.next_offset = self._clock.monotonic(), None

    def _tell(self, effects: Effects) -> None:
        """Metrics, and log lines for what a person may want to know."""
        for envelope in effects.incidents:
            self._count(envelope.event)
            _tell(envelope)
        for miss in effects.near_misses:
            self._metrics.near_misses.labels(miss.camera, miss.rule).inc()
        for gap in effects.gaps:
            self._metrics.coverage_gaps.labels(gap.camera, gap.rule).inc()
            seconds = max(0, gap.until - gap.since) / 1_000_000
            self._metrics.coverage_gap_seconds.labels(gap.camera, gap.rule).inc(seconds)
            log.warning(
                "coverage_gap", camera=gap.camera, rule=gap.rule, since=gap.since, until=gap.until
            )

    def _count(self, event: Event | None) -> None:
        if isinstance(event, IncidentOpened):
            self._metrics.incidents.labels(event.camera, event.severity).inc()
        elif isinstance(event, IncidentMoved):
            self._metrics.incident_moves.labels(event.target).inc()
        elif isinstance(event, AlertRaised):
            self._metrics.alerts.labels(event.severity).inc()
            latency = max(0, event.raised_at - event.matched_at) / 1_000_000
            self._metrics.alert_latency.labels(event.severity).observe(latency)


def _tell(envelope: Envelope) -> None:
    """A log line for what people will hear of, under the correlation of the frame that it began with."""
    event = envelope.event
    known = {"correlation": envelope.correlation, "trace_id": (envelope.traceparent or "")[3:35]}
    if isinstance(event, IncidentOpened):
        log.info("incident_opened", incident=event.incident, camera=event.camera, **known)
    elif isinstance(event, AlertRaised):
        log.info("alert_raised", alert=event.alert, incident=event.incident, **known)


class _Lane(Generic[S]):
    """A partition in work: its stage, when it was saved, and the offset that is not saved yet."""

    def __init__(self, stage: S, saved: float) -> None:
        self.stage = stage
        self.saved = saved
        self.next_offset: int | None = None
        self.cameras: set[str] = set()  # that were heard of


class DetectionHandler(StageHandler[CameraStage]):
    """Detections through the stage of their cameras."""

    group = GROUP

    def make(self, knowledge: Knowledge) -> CameraStage:
        """The cameras of a partition."""
        return CameraStage(knowledge)

    def measure(self, batch: Batch, stage: CameraStage, seconds: float) -> None:
        """By camera."""
        keys = {envelope.key for envelope in batch.envelopes}
        for camera in keys:
            self._metrics.rule_seconds.labels(camera).observe(seconds / len(keys))
            if camera in self._metrics.watermarks:
                self._metrics.tracks_live.labels(camera).set(stage.tracks(camera))


class PredicateHandler(StageHandler[AcrossStage]):
    """What cameras answer to rules over several of them, through the stage of their sites."""

    group = ACROSS

    def make(self, knowledge: Knowledge) -> AcrossStage:
        """The sites of a partition."""
        return AcrossStage(knowledge)


class CameraHandler:
    """Keeps every version of every camera's document: every process of ours knows them all."""

    def __init__(self, database: Database, knowledge: Knowledge) -> None:
        self._database = database
        self._knowledge = knowledge

    async def __call__(self, batch: Batch) -> None:
        """Follow the documents of the topic `cameras`."""
        for envelope in batch.envelopes:
            if isinstance(envelope.event, CameraConfigured):
                async with self._database.transaction() as tx:
                    await store.add_camera(tx, envelope.event)
                self._knowledge.configure(envelope.event)


class PlanHandler:
    """Says the plan that follows from a camera's document.

    One process of ours does it for a camera, in the order of the log: each for itself, the slower one would say an
    old plan again after the new one.
    """

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher

    async def __call__(self, batch: Batch) -> None:
        """Take the last document of each camera in the batch: those before it are over."""
        last = {envelope.key: envelope for envelope in batch.envelopes}
        for key, envelope in last.items():
            if isinstance(envelope.event, CameraConfigured):
                await self._plan(key, envelope.event, envelope)
            elif envelope.event is None:
                await self._plan(key, None, envelope)

    async def _plan(self, key: str, camera: CameraConfigured | None, cause: Envelope) -> None:
        """Say a plan that differs from what was last said, and is not older: documents come again after a crash."""
        decided = plan(camera) if camera is not None else None
        content = b"" if decided is None else msgspec.json.encode(decided)
        async with self._database.transaction() as tx:
            await tx.alone(f"plan/{key}")
            last = await store.planned(tx, key)
            if last == content or (last is None and decided is None) or _older(decided, last):
                return
            await store.keep_plan(tx, key, content)
            if decided is None:
                await tx.add([self._publisher.tombstone(topics.PLANS, key)])
                return
            id = derived(f"{key}/{decided.plan_version}", decided.type)
            await tx.add([self._publisher.mint(decided, id=id, cause=cause)])


def _older(decided: PlanDecided | None, last: bytes | None) -> bool:
    if decided is None or not last:
        return False
    return decided.plan_version < msgspec.json.decode(last, type=PlanDecided).plan_version


class RuleHandler:
    """Tells the stage of rules that another process changed; our own are known when they are saved."""

    def __init__(self, database: Database, knowledge: Knowledge) -> None:
        self._database = database
        self._knowledge = knowledge

    async def __call__(self, batch: Batch) -> None:
        """Follow the documents of the topic `rules`; a removal's time stands in the database."""
        for envelope in batch.envelopes:
            if isinstance(envelope.event, RuleDefined):
                self._knowledge.define(envelope.event)
            elif envelope.event is None:
                async with self._database.read() as reader:
                    for row in await store.newest_rules(reader, envelope.key):
                        tell(self._knowledge, row)


def tell(knowledge: Knowledge, row: store.RuleRow) -> None:
    """Tell the stage of a stored revision."""
    if row.document is None:
        knowledge.remove(row.rule, row.revision, row.effective_at)
        return
    knowledge.define(
        RuleDefined(
            rule=row.rule,
            revision=row.revision,
            rule_version=row.rule_version,
            rule_hash=row.rule_hash,
            document=row.document,
            effective_at=row.effective_at,
            author=row.author,
        )
    )
