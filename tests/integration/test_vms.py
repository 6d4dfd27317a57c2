"""The video management service in the runtime, on the durable log: documents go out, facts come in, once each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from blockbuster import blockbuster_ctx
from pydantic_settings import BaseSettings

from schemas import topics
from services.vms.service import SERVICE
from shared.bus.port import Batch, Subscription
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.service import Running, Service
from shared.settings import Configuration, PlatformSettings
from tests.unit.vms.happenings import alert, look, moved, opened, second, state

if TYPE_CHECKING:
    from schemas.event import Envelope


class World:
    """Everybody else: says facts and hears camera documents."""

    def __init__(self) -> None:
        self.platform: ServicePlatform | None = None
        self.heard: list[Envelope] = []

    def service(self) -> Service:
        return Service(
            name="world",
            port=0,
            settings=BaseSettings,
            start=self._start,
            consumes=(topics.CAMERAS,),
            produces=SERVICE.consumes,
        )

    async def say(self, *events: Any) -> None:
        assert self.platform is not None
        publisher = self.platform.publisher
        await publisher.publish([publisher.mint(event, topic=event.topics[-1]) for event in events])

    @asynccontextmanager
    async def _start(self, platform: ServicePlatform, _settings: Any) -> AsyncIterator[Running]:
        self.platform = platform
        yield Running(
            subscriptions=[
                Subscription(
                    topics=(topics.CAMERAS,), group="world", kind="table", handler=self._hear
                )
            ]
        )

    async def _hear(self, batch: Batch) -> None:
        self.heard.extend(batch.envelopes)


@asynccontextmanager
async def running(folder: Path, world: World) -> AsyncIterator[httpx.AsyncClient]:
    settings = PlatformSettings.model_validate(
        {"data_dir": folder, "camera_nets": ["127.0.0.0/8"], "port": 8000}
    )
    app = application([SERVICE, world.service()], settings, configuration=Configuration())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(local_owner(app))
        client = httpx.AsyncClient(transport=transport, base_url="http://vantage")
        await stack.enter_async_context(client)
        with blockbuster_ctx():  # starting and stopping may block, serving may not
            yield client


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true within 30 s")


async def counted(api: httpx.AsyncClient, kind: str) -> int:
    answer = await api.get(f"/api/v1/{kind}", params={"count": True})
    return int(answer.json()["count"])


async def test_documents_reach_the_log_and_survive_a_restart(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        body = {"name": "Door", "url": "rtsp://127.0.0.10/door"}
        assert (await api.post("/api/v1/cameras", json=body)).status_code == 201
        await api.patch("/api/v1/cameras/door", json={"enabled": False})
        await until(lambda: _len_is(world.heard, 2))
    again = World()
    async with running(tmp_path, again) as api:
        await until(lambda: _len_is(again.heard, 2))
        await api.delete("/api/v1/cameras/door")
        await until(lambda: _len_is(again.heard, 3))
    assert [envelope.id for envelope in again.heard[:2]] == [one.id for one in world.heard]
    assert again.heard[-1].event is None


async def test_facts_become_history_once(tmp_path: Path) -> None:
    facts = [
        look(1, ("person", 20, 80), ("car", 10, 10)),
        look(2, ("person", 21, 80)),
        second(1, ("door-1-1", "person", 20, 80)),
        opened("i1"),
        moved("i1", 1, None, "OPEN"),
        alert("a1"),
    ]
    kinds = ("detections", "tracks", "incidents", "alerts")

    async def all_there(api: httpx.AsyncClient) -> bool:
        return [await counted(api, kind) for kind in kinds] == [3, 1, 1, 1]

    world = World()
    async with running(tmp_path, world) as api:
        await api.post("/api/v1/cameras", json={"name": "Door", "url": "rtsp://127.0.0.10/door"})
        await world.say(*facts, state("online", 1))
        await until(lambda: all_there(api))
    again = World()
    async with running(tmp_path, again) as api:
        await again.say(*facts, state("retrying", 5))  # said again by somebody who came back

        async def last_state() -> bool:
            items = (await api.get("/api/v1/camera-status")).json()["items"]
            return bool(items) and items[0]["state"] == "retrying"

        await until(last_state)
        await until(lambda: all_there(api))
        incident = (await api.get("/api/v1/incidents/i1")).json()
    assert incident["state"] == "OPEN"
    assert len(incident["transitions"]) == 1


async def _len_is(items: list[Any], length: int) -> bool:
    return len(items) == length
