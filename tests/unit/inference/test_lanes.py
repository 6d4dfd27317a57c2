"""Lanes, pool and outlet together: order, fairness, failures, drains; detectors that the test holds back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from schemas.event import Envelope
from schemas.events.detections_made import Detection, DetectionsMade
from services.inference.admission import MOST
from services.inference.backends.port import Detector, DetectorFailed, Frame, Model
from services.inference.handlers import FrameHandler, SnapshotHandler
from services.inference.lanes import STARVED, Lanes
from services.inference.outlet import Outlet
from services.inference.pool import Pools
from services.inference.snapshots import Rings
from services.inference.stage import DetectStage
from shared.blobs.files import FileBlobs
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock
from shared.errors import Transient
from shared.images import Bitmap
from shared.metrics import Metrics
from tests.unit.inference.events import START, alive, closed, frame, opened, plan

ZERO = Partition("frames", 0)
SMALL = (32, 32)


class Held:
    """A detector whose calls wait until they are let go."""

    def __init__(self, *, batch: int = 1, parallel: int = 1, open: bool = True) -> None:
        self.model = Model(name="held", labels=("spot",), batch=batch, parallel=parallel)
        self.gate = threading.Event()
        self.calls: list[int] = []
        self.failing = False
        if open:
            self.gate.set()

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        self.calls.append(len(frames))
        assert self.gate.wait(10)
        if self.failing:
            raise DetectorFailed("model held failed: out of memory")
        return [[Detection(label="spot", score=0.9, box=(1, 1, 5, 5))] for _ in frames]

    def close(self) -> None: ...


@dataclass
class Said:
    """A publisher that keeps what was said, and refuses as often as it is told to."""

    envelopes: list[Envelope] = field(default_factory=list)
    refuse: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise Transient("the log is away")
        async with self.news:
            self.envelopes.extend(envelopes)
            self.news.notify_all()

    async def count(self, least: int) -> list[Envelope]:
        async with self.news, asyncio.timeout(10):
            await self.news.wait_for(lambda: len(self.envelopes) >= least)
        return self.envelopes

    def detections(self, camera: str = "yard") -> list[DetectionsMade]:
        events = [each.event for each in self.envelopes if each.key == camera]
        return [event for event in events if isinstance(event, DetectionsMade)]


@dataclass
class Service:
    """Inference without a log."""

    handler: FrameHandler
    lanes: Lanes
    said: Said
    clock: ManualClock
    rings: Rings

    async def hear(self, *envelopes: Envelope, partition: Partition = ZERO) -> None:
        await self.handler(Batch(partition, envelopes, 0))

    def tell(self, *envelopes: Envelope, partition: Partition = ZERO) -> asyncio.Task[None]:
        return asyncio.create_task(self.hear(*envelopes, partition=partition))


@asynccontextmanager
async def service(detectors: dict[str, Detector], tmp: str = "") -> AsyncIterator[Service]:
    clock, metrics, said = ManualClock(START), Metrics(), Said()
    pools, rings = Pools(clock, metrics), Rings(seconds=30, limit=1_000_000)
    snapshots = SnapshotHandler(rings, pools, FileBlobs.__new__(FileBlobs), metrics)
    stage = DetectStage(
        plan_of=lambda camera: plan(camera, every_frame=True, model=camera),
        detector_of=lambda wish: detectors.get(wish.model) or detectors[""],
    )
    outlet = Outlet(said)  # type: ignore[arg-type]  # only `publish` is used
    lanes = Lanes(stage, snapshots.look, outlet, clock, metrics=metrics, max_age=2.0)
    jobs = [asyncio.create_task(job()) for job in (lanes.run, outlet.run)]
    try:
        yield Service(FrameHandler(lanes, rings), lanes, said, clock, rings)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        pools.close()


async def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def test_events_of_a_camera_are_said_in_order() -> None:
    async with service({"": Held()}) as subject:
        for number in range(1, 11):
            subject.tell(frame(number, size=SMALL), alive(number))
            await subject.said.count(2 * number)
        kinds = [type(each.event).__name__ for each in subject.said.envelopes]
        assert kinds == ["DetectionsMade", "StreamAlive"] * 10
        assert [event.seq for event in subject.said.detections()] == list(range(1, 11))


async def test_while_a_look_lasts_long_the_newest_frame_wins_and_the_skipped_are_counted() -> None:
    detector = Held(open=False)
    async with service({"": detector}) as subject:
        await subject.hear(frame(1, size=SMALL))
        await wait_for(lambda: len(detector.calls) == 1)
        for number in range(2, 11):
            await subject.hear(frame(number, size=SMALL))
        detector.gate.set()
        await subject.said.count(2)
        assert [(event.seq, event.skipped) for event in subject.said.detections()] == [
            (1, 0),
            (10, 8),
        ]


async def test_frames_that_come_too_late_are_dropped_and_reported() -> None:
    async with service({"": Held()}) as subject:
        for number in range(1, STARVED + 1):
            await subject.hear(frame(number, read_at=START - 3_000_000, size=SMALL), alive(number))
            await subject.said.count(number)
        assert subject.said.detections() == []
        assert subject.lanes.health().reason == "frames_late"
        await subject.hear(frame(50, read_at=START, size=SMALL))
        await subject.said.count(STARVED + 1)
        assert subject.said.detections()[0].skipped == STARVED
        assert subject.lanes.health().status == "healthy"


async def test_a_slow_camera_delays_no_other_of_its_partition() -> None:
    slow = Held(open=False)
    async with service({"": Held(), "slow": slow}) as subject:
        subject.tell(opened(camera="slow"), frame(1, camera="slow", size=SMALL))
        await wait_for(lambda: len(slow.calls) == 1)
        for number in range(1, 21):
            await subject.hear(
                frame(number, size=SMALL), frame(number + 1, camera="slow", size=SMALL)
            )
            await subject.said.count(1 + number)
        assert len(subject.said.detections()) == 20
        assert subject.said.detections("slow") == []
        slow.gate.set()
        await wait_for(lambda: len(subject.said.detections("slow")) == 2)
        assert subject.said.detections("slow")[1].skipped == 19


async def test_cameras_of_one_detector_take_turns() -> None:
    detector = Held(open=False)
    async with service({"": detector}) as subject:
        for number in range(1, 10):
            for camera in ("a", "b", "c"):
                await subject.hear(frame(number, camera=camera, size=SMALL))
            await asyncio.sleep(0)
        await wait_for(lambda: len(detector.calls) == 1)
        detector.gate.set()
        await subject.said.count(6)
        order = [each.key for each in subject.said.envelopes]
        assert sorted(order[:3]) == sorted(order[3:]) == ["a", "b", "c"]


async def test_cameras_share_a_call_where_the_model_takes_batches() -> None:
    detector = Held(batch=4, open=False)
    async with service({"": detector}) as subject:
        for camera in ("first", "a", "b", "c", "d", "e"):
            await subject.hear(frame(1, camera=camera, size=SMALL))
            await wait_for(lambda: bool(detector.calls))
        await asyncio.sleep(0.05)
        detector.gate.set()
        await subject.said.count(6)
        assert detector.calls == [1, 4, 1]


async def test_several_calls_run_side_by_side() -> None:
    detector = Held(parallel=3, open=False)
    async with service({"": detector}) as subject:
        for camera in ("a", "b", "c", "d"):
            await subject.hear(frame(1, camera=camera, size=SMALL))
        await wait_for(lambda: len(detector.calls) == 3)
        detector.gate.set()
        await subject.said.count(4)


async def test_a_detector_that_fails_is_named_and_the_clock_goes_on() -> None:
    detector = Held()
    detector.failing = True
    async with service({"": detector}) as subject:
        await subject.hear(frame(1, size=SMALL), frame(1, camera="hall", size=SMALL))
        await subject.said.count(2)
        assert [event.coverage for event in subject.said.detections()] == ["none"]
        health = subject.lanes.health()
        assert (health.status, health.reason) == ("degraded", "look_failed")
        assert health.details["cameras"]["hall"] == "model held failed: out of memory"
        detector.failing = False
        await subject.hear(frame(2, size=SMALL), frame(2, camera="hall", size=SMALL))
        await subject.said.count(4)
        assert [event.coverage for event in subject.said.detections()] == ["none", "full"]
        assert subject.lanes.health().status == "healthy"


async def test_a_broken_picture_harms_none_that_shares_its_call() -> None:
    detector = Held(batch=4, open=False)
    async with service({"": detector}) as subject:
        await subject.hear(frame(1, camera="first", size=SMALL))
        await wait_for(lambda: bool(detector.calls))
        await subject.hear(frame(1, camera="good", size=SMALL))
        broken = frame(1, camera="broken", size=SMALL, picture=frame(1, size=(8, 8)).picture)
        await subject.hear(broken)
        await asyncio.sleep(0.05)
        detector.gate.set()
        await subject.said.count(3)
        assert subject.said.detections("good")[0].coverage == "full"
        assert subject.said.detections("broken")[0].coverage == "none"
        assert detector.calls == [1, 1]


async def test_nothing_after_a_mark_is_committed_until_the_mark_was_said() -> None:
    detector = Held(open=False)
    async with service({"": detector}) as subject:
        await subject.hear(at(4, frame(1, size=SMALL)), at(5, alive(1)))
        assert subject.handler.unfinished(ZERO) is None
        await subject.hear(at(6, closed()), at(7, opened(epoch=2)))
        await subject.hear(at(8, closed(epoch=2)), partition=Partition("frames", 1))
        await asyncio.sleep(0.05)
        assert subject.handler.unfinished(ZERO) == 6
        detector.gate.set()
        await wait_for(lambda: subject.handler.unfinished(ZERO) is None)
        kinds = [type(each.event).__name__ for each in subject.said.envelopes]
        assert kinds[:3] == ["DetectionsMade", "StreamAlive", "StreamClosed"]
        await subject.hear(at(6, closed()))
        await wait_for(lambda: subject.handler.unfinished(ZERO) is None)
        assert sum(type(e.event).__name__ == "StreamClosed" for e in subject.said.envelopes) == 2


async def test_a_mark_of_a_slow_camera_delays_no_other_of_its_partition() -> None:
    slow = Held(open=False)
    async with service({"": Held(), "slow": slow}) as subject:
        await subject.hear(at(0, frame(1, camera="slow", size=SMALL)))
        await wait_for(lambda: len(slow.calls) == 1)
        for number in range(1, 11):
            marks = (closed(camera="slow", epoch=number), opened(camera="slow", epoch=number + 1))
            events = (*marks, frame(number, size=SMALL))
            offsets = range(3 * number, 3 * number + 3)
            await asyncio.wait_for(subject.hear(*map(at, offsets, events)), 10)
            await subject.said.count(number)
        assert len(subject.said.detections()) == 10
        assert subject.handler.unfinished(ZERO) == 3
        slow.gate.set()
        await wait_for(lambda: subject.handler.unfinished(ZERO) is None)


async def test_marks_that_pile_up_make_the_log_wait() -> None:
    slow = Held(open=False)
    async with service({"": slow}) as subject:
        await subject.hear(at(0, frame(1, size=SMALL)))
        await wait_for(lambda: len(slow.calls) == 1)
        marks = [at(1 + epoch, opened(epoch=2 + epoch)) for epoch in range(MOST + 1)]
        telling = subject.tell(*marks)
        await asyncio.sleep(0.05)
        assert not telling.done()
        slow.gate.set()
        await asyncio.wait_for(telling, 10)
        await wait_for(lambda: subject.handler.unfinished(ZERO) is None)


async def test_a_mark_that_a_drain_cannot_say_stays_uncommitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.inference.lanes.FLUSH_S", 0.1)
    detector = Held(open=False)
    async with service({"": detector}) as subject:
        await subject.hear(at(0, frame(1, size=SMALL)), at(1, closed()))
        await asyncio.wait_for(subject.handler.revoked(ZERO), 10)
        assert subject.handler.unfinished(ZERO) == 1
        await subject.handler.assigned(ZERO)
        assert subject.handler.unfinished(ZERO) is None
        detector.gate.set()


def at(offset: int, envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, offset=offset)


async def test_what_the_log_refuses_is_said_again_in_order() -> None:
    async with service({"": Held()}) as subject:
        subject.said.refuse = 2
        await subject.hear(opened())
        await subject.hear(frame(1, size=SMALL))
        await subject.hear(closed())
        await subject.said.count(3)
        kinds = [type(each.event).__name__ for each in subject.said.envelopes]
        assert kinds == ["StreamOpened", "DetectionsMade", "StreamClosed"]


async def test_a_partition_that_is_taken_away_is_finished_and_forgotten() -> None:
    detector = Held(open=False)
    other = Partition("frames", 1)
    async with service({"": detector}) as subject:
        await subject.hear(frame(1, size=SMALL))
        await subject.hear(alive(1, camera="hall"), partition=other)
        taking = asyncio.create_task(subject.handler.revoked(ZERO))
        await asyncio.sleep(0.05)
        assert not taking.done()
        detector.gate.set()
        await asyncio.wait_for(taking, 10)
        assert len(subject.said.detections()) == 1
        assert not subject.rings.holds("yard")
        assert subject.lanes.health().details["cameras"] == 1
        # Its next owner (here: we again) knows nothing: the same frame is looked at anew.
        await subject.handler.assigned(ZERO)
        await subject.hear(frame(1, size=SMALL))
        await wait_for(lambda: len(subject.said.detections()) == 2)


class Watched:
    """A picture that notes which thread asks for its pixels or its JPEG."""

    def __init__(self) -> None:
        self._bitmap = Bitmap(np.zeros((32, 32, 3), np.uint8))
        self.threads: list[int] = []

    def jpeg(self) -> bytes:
        self.threads.append(threading.get_ident())
        return self._bitmap.jpeg()

    def pixels(self) -> object:
        self.threads.append(threading.get_ident())
        return self._bitmap.pixels()


async def test_the_event_loop_never_touches_pixels() -> None:
    pictures = [Watched(), Watched(), Watched()]
    async with service({"": Held()}) as subject:
        for number, picture in enumerate(pictures, 1):
            await subject.hear(frame(number, size=SMALL, picture=picture))
            await subject.said.count(number)
        await wait_for(lambda: all(len(picture.threads) >= 2 for picture in pictures))
    asked = {thread for picture in pictures for thread in picture.threads}
    assert threading.get_ident() not in asked


@pytest.mark.parametrize("seconds", [0.5])
async def test_a_drain_that_takes_too_long_is_cut_short(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.inference.lanes.FLUSH_S", seconds)
    detector = Held(open=False)
    async with service({"": detector}) as subject:
        await subject.hear(frame(1, size=SMALL))
        await asyncio.wait_for(subject.handler.revoked(ZERO), 10)
        detector.gate.set()
        assert subject.said.envelopes == []
