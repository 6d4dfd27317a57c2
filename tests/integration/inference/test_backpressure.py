"""Frames over a real Kafka broker: a slow detector lowers its own camera's rate and nothing else; memory is bounded."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import psutil
import pytest

from schemas.cloudevents import JpegPicture
from schemas.event import Envelope
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamOpened
from services.inference.backends.port import Detector, Frame, Model
from services.inference.handlers import FrameHandler
from services.inference.lanes import Lanes
from services.inference.outlet import Outlet
from services.inference.pool import Pools
from services.inference.snapshots import Rings
from services.inference.stage import DetectStage
from shared.bus.kafka import open_kafka
from shared.bus.partitions import partition_of
from shared.bus.port import Log, Partition
from shared.bus.publisher import message
from shared.clock import SystemClock
from shared.images import Bitmap
from shared.metrics import Metrics
from tests.contract.bus import make_engine, make_topic, running, subscribe, until
from tests.engines.kafka import KafkaBroker
from tests.unit.inference.events import plan

pytestmark = pytest.mark.kafka
SECOND = 1_000_000
SIZE = (640, 360)
ADMISSION_S = 4.0  # generous: what is shown is that nobody waits for a look of `LOOK_S`
LOOK_S = 5.0
TOPIC = make_topic("ephemeral", partitions=2)
NAMES = [f"camera-{number}" for number in range(20)]
SLOW, NEIGHBOUR, *_ = [name for name in NAMES if partition_of(name, 2) == 0]
OTHER = next(name for name in NAMES if partition_of(name, 2) == 1)


class Slow:
    """A detector that takes its time."""

    def __init__(self, seconds: float) -> None:
        self.model = Model(name=f"takes-{seconds:g}", labels=("spot",), batch=1, parallel=1)
        self.seconds = seconds

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        time.sleep(self.seconds)
        return [[] for _ in frames]

    def close(self) -> None: ...


class Said:
    """Detections as they are said, with how long they took since their frame left its reader."""

    def __init__(self) -> None:
        self.events: list[DetectionsMade] = []
        self.seconds: dict[str, list[float]] = {name: [] for name in (SLOW, NEIGHBOUR, OTHER)}
        self.read_at: dict[tuple[str, int], int] = {}

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        now = SystemClock().now()
        for event in (each.event for each in envelopes):
            if isinstance(event, DetectionsMade):
                self.events.append(event)
                took = now - self.read_at[event.camera, event.seq]
                self.seconds[event.camera].append(took / SECOND)

    def of(self, camera: str) -> list[DetectionsMade]:
        return [event for event in self.events if event.camera == camera]


@asynccontextmanager
async def inference(log: Log, said: Said, slow_s: float) -> AsyncIterator[FrameHandler]:
    """Inference on the log, as its service wires it."""
    clock, metrics = SystemClock(), Metrics()
    detectors: dict[str, Detector] = {SLOW: Slow(slow_s), "": Slow(0.0)}
    pools = Pools(clock, metrics)
    stage = DetectStage(
        plan_of=lambda camera: plan(camera, every_frame=True, model=camera),
        detector_of=lambda wish: detectors.get(wish.model) or detectors[""],
    )
    outlet = Outlet(said)  # type: ignore[arg-type]  # only `publish` is used
    lanes = Lanes(
        stage, lambda look: pools.of(look.detector).look(look), outlet, clock,
        metrics=metrics, max_age=ADMISSION_S,
    )  # fmt: skip
    handler = FrameHandler(lanes, Rings(seconds=1, limit=1))
    subscription = subscribe(TOPIC, handler, owner=handler, unfinished=handler.unfinished)
    jobs = [asyncio.create_task(job()) for job in (lanes.run, outlet.run)]
    async with AsyncExitStack() as stack:
        stack.callback(pools.close)
        try:
            async with running(make_engine(log, subscription)):
                yield handler
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)


class Ingest:
    """Says frames of about 100 kB, and marks, as ingest does."""

    def __init__(self, log: Log, said: Said) -> None:
        chance = np.random.default_rng(7)
        self._jpeg = Bitmap(chance.integers(0, 120, (*SIZE[::-1], 3), np.uint8)).jpeg()
        self._log = log
        self._said = said
        self.size = len(self._jpeg)
        self.sent: dict[str, int] = {}

    async def frame(self, camera: str) -> None:
        seq = self.sent[camera] = self.sent.get(camera, 0) + 1
        now = SystemClock().now()
        event = FrameCaptured(
            camera=camera, epoch=1, seq=seq, captured_at=now, read_at=now,
            width=SIZE[0], height=SIZE[1], lease=1, motion=(),
        )  # fmt: skip
        self._said.read_at[camera, seq] = now
        await self._say(event, f"{camera}-{seq}", JpegPicture(self._jpeg))

    async def mark(self, camera: str, number: int) -> None:
        event = StreamOpened(
            camera=camera, epoch=1, opened_at=SystemClock().now(), lease=1,
            width=SIZE[0], height=SIZE[1], period=200_000,
        )  # fmt: skip
        await self._say(event, f"{camera}-opened-{number}", None)

    async def _say(self, event: object, id: str, picture: object) -> None:
        key = event.camera  # type: ignore[attr-defined]
        envelope = Envelope(
            id=id, source="/test", topic=TOPIC.name, key=key, event=event, picture=picture,  # type: ignore[arg-type]
        )  # fmt: skip
        await self._log.append([message(envelope)])


async def test_a_slow_detector_delays_no_neighbour_and_what_it_skips_is_counted(
    kafka_broker: KafkaBroker,
) -> None:
    said = Said()
    async with open_kafka(kafka_broker.url, [TOPIC], session=6.0) as log:
        ingest = Ingest(log, said)
        async with inference(log, said, slow_s=LOOK_S) as handler:
            await ingest.frame(OTHER)
            await until(lambda: said.of(OTHER))
            for turn in range(40):
                # A mark in each turn: it must wait for the look before it, and nobody for the mark.
                await ingest.frame(SLOW)
                await ingest.mark(SLOW, turn)
                await ingest.frame(NEIGHBOUR)
                await ingest.frame(OTHER)
                await asyncio.sleep(0.15)
            await until(lambda: len(said.of(NEIGHBOUR)) == 40 and len(said.of(OTHER)) == 41)
            await until(lambda: handler.unfinished(Partition(TOPIC.name, 0)) is None)
    for quick in (NEIGHBOUR, OTHER):
        assert sum(event.skipped for event in said.of(quick)) == 0
        assert max(said.seconds[quick]) < ADMISSION_S
    looked = said.of(SLOW)
    assert 2 <= len(looked) < 10
    assert looked[-1].seq - len(looked) == sum(event.skipped for event in looked)
    # Newest wins: what is looked at had left its reader less than the limit before its look began.
    assert max(said.seconds[SLOW]) < ADMISSION_S + 2 * LOOK_S


async def test_what_a_stuck_detector_leaves_lying_is_bounded(kafka_broker: KafkaBroker) -> None:
    said, count = Said(), 500
    async with open_kafka(kafka_broker.url, [TOPIC], session=6.0) as log:
        ingest = Ingest(log, said)
        async with inference(log, said, slow_s=LOOK_S):
            for camera in (SLOW, OTHER):
                await ingest.frame(camera)
            await until(lambda: said.of(OTHER))
            before = psutil.Process().memory_info().rss
            size = ingest.size * count
            most = 0
            for number in range(count):
                await ingest.frame(SLOW)
                if number % 20 == 0:
                    await ingest.frame(OTHER)
                    most = max(most, psutil.Process().memory_info().rss - before)
            await until(lambda: len(said.of(OTHER)) == 1 + count // 20)
    assert size > 50_000_000
    assert most < 2 * size / 3
