"""Inference in the runtime, on the embedded log: frames in, detections and marks out in order, snapshots, health."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from pydantic_settings import BaseSettings

from schemas import topics
from schemas.event import Envelope
from schemas.events.detections_made import DetectionsMade
from schemas.events.incident_changes import Cause, IncidentOpened
from services.inference.service import SERVICE
from shared import images
from shared.bus.port import Batch, Subscription
from shared.platform import ServicePlatform
from shared.service import Running, Service
from tests.unit.inference import graphs
from tests.unit.inference.events import START, alive, closed, frame, opened, plan
from tests.unit.platform.toys import app_of, caller, lifespan

SIZE = (64, 64)
Answer = TypeVar("Answer")


class World:
    """Everybody else: says frames, plans and incidents, and hears detections."""

    def __init__(self) -> None:
        self.platform: ServicePlatform | None = None
        self.heard: list[Envelope] = []

    def service(self) -> Service:
        return Service(
            name="world",
            port=0,
            settings=BaseSettings,
            start=self._start,
            consumes=SERVICE.produces,
            produces=SERVICE.consumes,
        )

    async def say(self, *envelopes: Envelope) -> None:
        assert self.platform is not None
        await self.platform.publisher.publish(envelopes)

    async def tell(self, event: Any) -> None:
        assert self.platform is not None
        await self.say(self.platform.publisher.mint(event, topic=event.topics[0]))

    def detections(self, camera: str = "yard") -> list[DetectionsMade]:
        events = [envelope.event for envelope in self.heard if envelope.key == camera]
        return [event for event in events if isinstance(event, DetectionsMade)]

    @asynccontextmanager
    async def _start(self, platform: ServicePlatform, _settings: Any) -> AsyncIterator[Running]:
        self.platform = platform
        hears = Subscription(topics=(topics.DETECTIONS,), group="world", handler=self._hear)
        yield Running(subscriptions=[hears])

    async def _hear(self, batch: Batch) -> None:
        self.heard.extend(batch.envelopes)


@asynccontextmanager
async def running(tmp_path: Path, world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = app_of(tmp_path, SERVICE, world.service())
    async with lifespan(app), caller(app, owner=True) as client:
        with blockbuster_ctx():  # starting and stopping may block, serving may not
            yield client


async def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true within 30 s")


async def health(api: httpx.AsyncClient, check: str = "model") -> dict[str, Any]:
    report = (await api.get("/health")).json()
    found: dict[str, Any] = report["details"]["services"]["inference"]["checks"][check]
    return found


async def healthy(api: httpx.AsyncClient) -> None:
    for _ in range(600):
        if (await health(api))["status"] == "healthy":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(await health(api))


async def first(ask: Callable[[], Awaitable[Answer | None]]) -> Answer:
    """The first answer that is one."""
    for _ in range(600):
        found = await ask()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("no answer within 30 s")


async def reason(api: httpx.AsyncClient, start: str) -> str | None:
    found: str = (await health(api))["reason"]
    return found if found.startswith(start) else None


def fresh(seq: int, camera: str = "yard", shade: int = 200) -> Envelope:
    picture = images.Bitmap(np.full((*SIZE, 3), shade, np.uint8))
    return frame(seq, camera=camera, size=SIZE, picture=picture, read_at=time.time_ns() // 1000)


def incident(seq: int, *, suppressed: bool = False, name: str = "i1") -> IncidentOpened:
    at = START + (seq - 1) * 200_000
    return IncidentOpened(
        incident=name,
        camera="yard",
        epoch=1,
        seq=seq,
        title="Person enters",
        severity="high",
        group="t1",
        started_at=at,
        matched_at=at,
        margin=0.1,
        suppressed=suppressed,
        snapshot=f"incidents/{name}/first.jpg",
        cause=Cause(
            rule="r",
            rule_version="1.0.0",
            rule_hash="h",
            camera_version=1,
            model="m",
            tracker="t",
            topic="detections",
            partition=0,
            offset=0,
        ),
    )


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    answer = graphs.ultralytics({7: (32, 32, 16, 16, 0.9)}, classes=1)
    file = graphs.save(tmp_path / "spot.onnx", answer, metadata={"names": "['person']"})
    monkeypatch.setenv("VANTAGE_INFERENCE_MODEL", str(file))
    return file


async def test_frames_become_detections_and_marks_keep_their_place(
    tmp_path: Path, model: Path
) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await world.tell(plan(every_frame=True))
        await healthy(api)
        await world.say(opened())
        for seq in range(1, 6):
            await world.say(fresh(seq))
            await until(lambda seq=seq: len(world.detections()) == seq)  # type: ignore[misc]
        await world.say(alive(1), closed())
        await until(lambda: len(world.heard) == 8)
        line = (await health(api))["details"]["models"][f"onnx:{model}"]
    kinds = [type(envelope.event).__name__ for envelope in world.heard]
    assert kinds == ["StreamOpened", *["DetectionsMade"] * 5, "StreamAlive", "StreamClosed"]
    assert len({envelope.id for envelope in world.heard}) == 8
    event = world.detections()[0]
    assert event.coverage == "full"
    assert event.model == line["version"]
    assert event.model.startswith("spot@")
    assert [(seen.label, seen.score, seen.box) for seen in event.detections] == [
        ("person", 0.9, (24.0, 24.0, 16.0, 16.0))
    ]


async def test_an_incident_gets_the_picture_that_it_was_decided_on(
    tmp_path: Path, model: Path
) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await world.tell(plan(every_frame=True))
        await healthy(api)
        for seq in range(1, 4):
            await world.say(fresh(seq, shade=60 * seq))
            await until(lambda seq=seq: len(world.detections()) == seq)  # type: ignore[misc]
        assert world.platform is not None
        blobs = world.platform.blobs
        await world.tell(incident(2, suppressed=True, name="quiet"))
        await world.tell(incident(2))
        await world.tell(incident(900, name="gone"))
        found = await first(lambda: blobs.get("incidents/i1/first.jpg"))
        assert abs(int(images.decode(found).mean()) - 120) <= 2
        assert {stat.key for stat in await blobs.list("incidents")} == {"incidents/i1/first.jpg"}


async def test_without_a_model_the_clock_goes_on_and_the_remedy_is_named(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await world.tell(plan())
        await world.say(opened(), fresh(1), alive(1))
        await until(lambda: len(world.heard) == 3)
        found = await health(api)
    assert (found["status"], found["reason"]) == ("degraded", "no_model")
    assert "VANTAGE_INFERENCE_MODEL" in found["details"]["remedy"]
    assert [event.coverage for event in world.detections()] == ["none"]


async def test_a_model_that_is_none_harms_no_other_camera(tmp_path: Path, model: Path) -> None:
    world = World()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    async with running(tmp_path, world) as api:
        await world.tell(plan("hall", model=str(broken)))
        await world.tell(plan(every_frame=True))
        found = await first(lambda: reason(api, "model_failed"))
        assert "broken.onnx is no model" in found
        await world.say(fresh(1), fresh(1, "hall"))
        await until(lambda: len(world.heard) == 2)
    assert world.detections()[0].coverage == "full"
    assert world.detections("hall")[0].coverage == "none"


async def test_a_plan_that_is_withdrawn_stops_looking(tmp_path: Path, model: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await world.tell(plan(every_frame=True))
        await healthy(api)
        await world.say(fresh(1))
        await until(lambda: len(world.detections()) == 1)
        assert world.platform is not None
        await world.say(world.platform.publisher.tombstone(topics.PLANS, "yard"))
        seq = 1
        while world.detections()[-1].coverage == "full" and seq < 200:
            seq += 1
            await world.say(fresh(seq))
            await until(lambda seq=seq: world.detections()[-1].seq == seq)  # type: ignore[misc]
        assert world.detections()[-1].coverage == "none"
