"""Frames over a real Kafka broker: a slow detector lowers its own camera's rate and nothing else; memory is bounded."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import numpy as np
import psutil
import pytest

from schemas.cloudevents import JpegPicture
from schemas.event import Envelope, Event, Topic
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamOpened
from services.inference.backends.port import Frame, Model
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
PATIENCE_S = 60.0
NAMES = [f"camera-{number}" for number in range(20)]
SLOW, NEIGHBOUR, *_ = [name for name in NAMES if partition_of(name, 2) == 0]
OTHER = next(name for name in NAMES if partition_of(name, 2) == 1)


class Detector:
    """Sees nothing; one that is `stuck` does not return until it is let go."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.model = Model(name="toy", labels=("spot",), batch=1, parallel=1)
        self.looking = threading.Event()
        self.gate = threading.Event()
        if not stuck:
            self.gate.set()

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        self.looking.set()
        assert self.gate.wait(2 * PATIENCE_S)
        return [[] for _ in frames]

    def close(self) -> None: ...


class Said:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.events: list[DetectionsMade] = []

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        events = (each.event for each in envelopes)
        self.events += [event for event in events if isinstance(event, DetectionsMade)]

    def of(self, camera: str) -> list[DetectionsMade]:
        return [event for event in self.events if event.camera == camera]


class World:
    """A topic of frames on a real log, what is said about them, and a detector for the slow camera."""

    def __init__(self, log: Log, topic: Topic) -> None:
        self.log = log
        self.topic = topic
        self.slow = Detector(stuck=True)
        self.sent: dict[str, int] = {}
        chance = np.random.default_rng(7)
        self.jpeg = Bitmap(chance.integers(0, 120, (*SIZE[::-1], 3), np.uint8)).jpeg()

    async def frame(self, camera: str) -> int:
        """Say a frame of about 100 kB, as ingest does; returns its number."""
        seq = self.sent[camera] = self.sent.get(camera, 0) + 1
        now = SystemClock().now()
        event = FrameCaptured(
            camera=camera, epoch=1, seq=seq, captured_at=now, read_at=now,
            width=SIZE[0], height=SIZE[1], lease=1, motion=(),
        )  # fmt: skip
        await self._say(event, f"{camera}-{seq}", JpegPicture(self.jpeg))
        return seq

    async def mark(self, camera: str, number: int) -> None:
        """Say that its stream was opened."""
        event = StreamOpened(
            camera=camera, epoch=1, opened_at=SystemClock().now(), lease=1,
            width=SIZE[0], height=SIZE[1], period=200_000,
        )  # fmt: skip
        await self._say(event, f"{camera}-opened-{number}", None)

    async def until_said(self, said: Said, camera: str, count: int = 1) -> None:
        """Say frames until so many have come through."""
        deadline = time.monotonic() + PATIENCE_S
        while len(said.of(camera)) < count:
            assert time.monotonic() < deadline
            await self.frame(camera)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def inference(
        self, said: Said, *, member: str = "one", max_age: float = PATIENCE_S, killed: bool = False
    ) -> AsyncIterator[FrameHandler]:
        """Inference as its service wires it; `killed`: at the end it just stops."""
        clock, metrics, quick = SystemClock(), Metrics(), Detector()
        pools = Pools(clock, metrics)
        stage = DetectStage(
            plan_of=lambda camera: plan(camera, every_frame=True, model=camera),
            detector_of=lambda wish: self.slow if wish.model == SLOW else quick,
        )
        outlet = Outlet(said)  # type: ignore[arg-type]  # only `publish` is used
        lanes = Lanes(
            stage, lambda look: pools.of(look.detector).look(look), outlet, clock,
            metrics=metrics, max_age=max_age,
        )  # fmt: skip
        handler = FrameHandler(lanes, Rings(seconds=1, limit=1))
        subscription = subscribe(self.topic, handler, owner=handler, unfinished=handler.unfinished)
        engine = make_engine(self.log, subscription, member=member)
        jobs = [asyncio.create_task(job()) for job in (lanes.run, outlet.run)]
        try:
            if killed:
                jobs.append(asyncio.create_task(engine.run()))
                yield handler
            else:
                async with running(engine):
                    yield handler
        finally:
            self.slow.gate.set()
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            pools.close()

    async def _say(self, event: Event, id: str, picture: JpegPicture | None) -> None:
        envelope = Envelope(
            id=id, source="/test", topic=self.topic.name, key=event.key, event=event,
            picture=picture,
        )  # fmt: skip
        await self.log.append([message(envelope)])


@pytest.fixture
async def world(kafka_broker: KafkaBroker) -> AsyncIterator[World]:
    topic = make_topic("ephemeral", partitions=2)
    async with open_kafka(kafka_broker.url, [topic], session=6.0) as log:
        yield World(log, topic)


async def test_a_stuck_detector_delays_no_neighbour_and_what_it_skips_is_counted(
    world: World,
) -> None:
    said = Said()
    async with world.inference(said) as handler:
        await world.until_said(said, OTHER)
        await world.frame(SLOW)
        await until(world.slow.looking.is_set)
        for turn in range(20):
            # A mark in each turn: it waits for the look before it, and nobody waits for the mark.
            await world.frame(SLOW)
            await world.mark(SLOW, turn)
            wanted = {await world.frame(NEIGHBOUR), await world.frame(OTHER)}
            await until(
                lambda wanted=wanted: (
                    wanted  # type: ignore[misc]
                    <= {event.seq for name in (NEIGHBOUR, OTHER) for event in said.of(name)}
                )
            )
        assert handler.unfinished(Partition(world.topic.name, 0)) is not None
        assert not said.of(SLOW)
        world.slow.gate.set()
        await until(lambda: handler.unfinished(Partition(world.topic.name, 0)) is None)
        await world.until_said(said, SLOW, len(said.of(SLOW)) + 1)
    assert len(said.of(NEIGHBOUR)) == 20
    assert sum(event.skipped for event in said.of(NEIGHBOUR)) == 0
    looked = said.of(SLOW)
    assert (looked[0].seq, looked[0].skipped) == (1, 0)
    every_frame_is_accounted_for(looked)


def every_frame_is_accounted_for(looked: list[DetectionsMade]) -> None:
    for one, two in itertools.pairwise(looked):
        assert two.seq - one.seq == two.skipped + 1


async def test_what_a_stuck_detector_leaves_lying_is_bounded(world: World) -> None:
    said, count = Said(), 500
    async with world.inference(said):
        await world.until_said(said, OTHER)
        await world.frame(SLOW)
        await until(world.slow.looking.is_set)
        before, most = psutil.Process().memory_info().rss, 0
        for number in range(count):
            await world.frame(SLOW)
            if number % 20 == 0:
                seq = await world.frame(OTHER)
                await until(lambda seq=seq: said.of(OTHER)[-1].seq >= seq)  # type: ignore[misc]
                most = max(most, psutil.Process().memory_info().rss - before)
        world.slow.gate.set()
    size = count * len(world.jpeg)
    assert size > 50_000_000
    assert most < 2 * size / 3


async def test_a_killed_detector_is_followed_by_one_that_looks_in_full_first(world: World) -> None:
    first, second = Said(), Said()
    async with world.inference(first, member="one", max_age=4.0, killed=True):
        await world.until_said(first, OTHER, 5)
    async with world.inference(second, member="two", max_age=4.0):
        await world.until_said(second, OTHER, 5)
    last, (fresh, *_) = first.of(OTHER)[-1], second.of(OTHER)
    assert fresh.coverage == "full"
    # What came while nobody looked is too old: counted, and seen by everybody as a hole in the numbers.
    assert 0 < fresh.skipped < fresh.seq - last.seq
    assert fresh.captured_at - last.captured_at > 2 * SECOND
    every_frame_is_accounted_for(second.of(OTHER))
