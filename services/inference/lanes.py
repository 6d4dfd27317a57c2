"""One lane a camera: its events in order, beside those of all others. A slow look holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import structlog

from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from services.inference.admission import MOST, Slot
from services.inference.backends.port import DetectorFailed
from services.inference.look import Look
from shared.errors import Invalid
from shared.service import Health
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from schemas.event import Envelope
    from schemas.events.detections_made import Detection
    from services.inference.outlet import Outlet
    from services.inference.stage import DetectStage
    from shared.bus.port import Partition
    from shared.clock import Clock
    from shared.metrics import Metrics
    from shared.traces.port import Spans

Looker: TypeAlias = "Callable[[Look], Awaitable[list[Detection]]]"

FLUSH_S = 3.0
STARVED = 10
"""Frames in a row that came too late, from which on the health report names the camera."""
log = structlog.get_logger(component="lanes")


class Lane:
    """What waits for a camera, and what became of it."""

    def __init__(self, camera: str, partition: Partition, max_age: int) -> None:
        self.camera = camera
        self.partition = partition
        self.slot = Slot(max_age)
        self.news = asyncio.Event()
        self.idle = asyncio.Event()
        self.skipped = 0
        self.late = 0
        self.failure = ""
        self.task: asyncio.Task[None] | None = None
        self._asked: dict[str, asyncio.Future[None]] = {}

    def offer(self, envelope: Envelope) -> None:
        """Let an event wait for its turn."""
        self.slot.offer(envelope)
        self.idle.clear()
        self.news.set()

    def ask(self, envelope: Envelope) -> asyncio.Future[None]:
        """Be told when this event was said on, or was found not to be passed on."""
        return self._asked.setdefault(envelope.id, asyncio.get_running_loop().create_future())

    async def until_roomy(self) -> None:
        """Wait while so many asked for events wait that something must be wrong."""
        while len(self._asked) >= MOST:
            await asyncio.wait(self._asked.values(), return_when=asyncio.FIRST_COMPLETED)

    def settle(self, envelope: Envelope) -> None:
        """Tell whoever asked."""
        future = self._asked.pop(envelope.id, None)
        if future is not None and not future.done():
            future.set_result(None)

    def count(self) -> Counter[str]:
        """Take over what admission dropped."""
        lost = self.slot.lost()
        self.skipped += lost.total()
        self.late += lost["late"]
        return lost


class Lanes:
    """All lanes of this process. `run` works them; without it everything waits."""

    def __init__(
        self,
        stage: DetectStage,
        look: Looker,
        outlet: Outlet,
        clock: Clock,
        *,
        metrics: Metrics,
        spans: Spans | None = None,
        max_age: float,
    ) -> None:
        self._stage = stage
        self._look = look
        self._outlet = outlet
        self._clock = clock
        self._metrics = metrics
        self._spans = spans or Traces().of("inference", clock)
        self._max_age = round(max_age * 1_000_000)
        self._lanes: dict[str, Lane] = {}
        self._group: asyncio.TaskGroup | None = None

    def lane(self, camera: str, partition: Partition) -> Lane:
        """The lane of a camera, opened at its first event."""
        found = self._lanes.get(camera)
        if found is None:
            found = self._lanes[camera] = Lane(camera, partition, self._max_age)
            self._start(found)
        return found

    async def run(self) -> None:
        """Work every lane until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for lane in self._lanes.values():
                    self._start(lane)
                await asyncio.Event().wait()
        finally:
            self._group = None

    async def finish(self, partition: Partition) -> None:
        """Wait until everything of the partition was said, within the time that a drain leaves."""
        try:
            async with asyncio.timeout(FLUSH_S):
                for lane in self._of(partition):
                    await lane.idle.wait()
                await self._outlet.flush()
        except TimeoutError:
            log.warning("not_finished", partition=list(partition), budget_s=FLUSH_S)

    def drop(self, partition: Partition) -> list[str]:
        """Forget the partition's cameras; returns them."""
        dropped = self._of(partition)
        for lane in dropped:
            del self._lanes[lane.camera]
            self._stage.forget(lane.camera)
            if lane.task is not None:
                lane.task.cancel()
        return [lane.camera for lane in dropped]

    @property
    def waiting(self) -> int:
        """Events that wait for their turn, of all cameras."""
        return sum(len(lane.slot) for lane in list(self._lanes.values()))

    def health(self) -> Health:
        """Degraded while frames of a camera come too late, or its detector fails."""
        lanes = self._lanes.values()
        failing = {lane.camera: lane.failure for lane in lanes if lane.failure}
        starved = sorted(lane.camera for lane in lanes if lane.late >= STARVED)
        if failing:
            return Health(status="degraded", reason="look_failed", details={"cameras": failing})
        if starved:
            remedy = (
                "frames are too old when they arrive: compare the hosts' clocks, "
                "lower the cameras' rate, or use a smaller model"
            )
            details = {"cameras": starved, "remedy": remedy}
            return Health(status="degraded", reason="frames_late", details=details)
        return Health(status="healthy", details={"cameras": len(self._lanes)})

    def _of(self, partition: Partition) -> list[Lane]:
        return [lane for lane in self._lanes.values() if lane.partition == partition]

    def _start(self, lane: Lane) -> None:
        if self._group is not None:
            lane.task = self._group.create_task(self._work(lane), name=f"lane {lane.camera}")

    async def _work(self, lane: Lane) -> None:
        while True:
            envelope = lane.slot.take(self._clock.now())
            for reason, count in lane.count().items():
                self._metrics.frames_dropped.labels(lane.camera, reason).inc(count)
            if envelope is not None:
                await self._handle(lane, envelope)
                continue
            lane.idle.set()
            lane.news.clear()
            await lane.news.wait()

    async def _handle(self, lane: Lane, envelope: Envelope) -> None:
        started, under = self._clock.now(), self._under(envelope)
        begun = self._stage.begin(under, skipped=lane.skipped)
        if begun is None:
            if isinstance(envelope.event, FrameCaptured):
                self._metrics.frames_dropped.labels(lane.camera, "stale").inc()
            lane.settle(envelope)
            return
        answer = await self._answer(lane, begun) if isinstance(begun, Look) else begun
        if isinstance(answer.event, DetectionsMade):
            lane.skipped = lane.late = 0
            self._measure(answer.event)
        await self._outlet.put(
            answer, lambda: self._said(lane, envelope, answer, under.traceparent, started)
        )

    def _under(self, envelope: Envelope) -> Envelope:
        """A frame under a span of its own; marks are passed on as they are."""
        return (
            self._spans.under(envelope) if isinstance(envelope.event, FrameCaptured) else envelope
        )

    def _said(
        self, lane: Lane, cause: Envelope, answer: Envelope, here: str | None, started: int
    ) -> None:
        lane.settle(cause)
        event = answer.event
        if isinstance(event, DetectionsMade):
            self._metrics.reached("detections", event.captured_at, self._clock.now())
            self._spans.tell(
                "detect", here, cause.traceparent, started,
                vantage_camera=event.camera, vantage_event=cause.id, vantage_model=event.model,
                vantage_coverage=event.coverage, vantage_detections=len(event.detections),
            )  # fmt: skip
            log.debug("frame_answered", camera=event.camera, correlation=answer.correlation)

    async def _answer(self, lane: Lane, look: Look) -> Envelope:
        try:
            found = await self._look(look)
        except (DetectorFailed, Invalid) as error:
            if lane.failure != str(error):
                log.error("look_failed", camera=lane.camera, reason=str(error))
            lane.failure = str(error)
            return self._stage.fail(look)
        lane.failure = ""
        return self._stage.finish(look, found)

    def _measure(self, event: DetectionsMade) -> None:
        self._metrics.inference_frames.labels(event.camera, event.coverage).inc()
        if event.coverage != "none":
            self._metrics.detections_per_frame.labels(event.camera).observe(len(event.detections))
        for label, count in _labels(event.detections).items():
            self._metrics.detections.labels(event.camera, label).inc(count)


def _labels(found: Iterable[Detection]) -> Counter[str]:
    return Counter(seen.label for seen in found)
