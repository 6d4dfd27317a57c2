"""The orchestrator in the runtime, on the durable log: rules and plans go out, detections become incidents."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from pydantic_settings import BaseSettings

from schemas import topics
from schemas.events.alert_raised import AlertRaised
from schemas.events.incident_changes import IncidentMoved, IncidentOpened
from schemas.events.plan_decided import PlanDecided
from schemas.events.rule_defined import RuleDefined
from services.orchestrator.service import SERVICE
from shared.bus.port import Batch, Subscription
from shared.clock import SystemClock
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.service import Running, Service
from shared.settings import Configuration, PlatformSettings
from tests.unit.orchestrator.happenings import FIFTH, camera, enters, frame, opened

if TYPE_CHECKING:
    from schemas.event import Envelope

HEARD = (topics.PLANS, topics.RULES, topics.INCIDENTS, topics.ALERTS)


class World:
    """Everybody else: says cameras and detections, hears what comes of them."""

    def __init__(self) -> None:
        self.platform: ServicePlatform | None = None
        self.heard: list[Envelope] = []

    def service(self) -> Service:
        return Service(
            name="world",
            port=0,
            settings=BaseSettings,
            start=self._start,
            consumes=HEARD,
            produces=(topics.CAMERAS, topics.DETECTIONS),
        )

    async def say(self, *events: Any, topic: Any = topics.DETECTIONS) -> None:
        assert self.platform is not None
        publisher = self.platform.publisher
        await publisher.publish([publisher.mint(event, topic=topic) for event in events])

    async def forget(self, name: str) -> None:
        assert self.platform is not None
        publisher = self.platform.publisher
        await publisher.publish([publisher.tombstone(topics.CAMERAS, name)])

    def of(self, kind: type[Any]) -> list[Any]:
        return [one.event for one in self.heard if isinstance(one.event, kind)]

    @asynccontextmanager
    async def _start(self, platform: ServicePlatform, _settings: Any) -> AsyncIterator[Running]:
        self.platform = platform
        yield Running(
            subscriptions=[
                Subscription(topics=(topic,), group=f"world-{topic.name}", handler=self._hear)
                for topic in HEARD
            ]
        )

    async def _hear(self, batch: Batch) -> None:
        self.heard.extend(batch.envelopes)


@asynccontextmanager
async def running(folder: Path, world: World) -> AsyncIterator[httpx.AsyncClient]:
    settings = PlatformSettings.model_validate({"data_dir": folder, "port": 8000})
    app = application([SERVICE, world.service()], settings, configuration=Configuration())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(local_owner(app))
        client = httpx.AsyncClient(transport=transport, base_url="http://vantage/api/v1")
        await stack.enter_async_context(client)
        yield client


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    for _ in range(400):
        answer = true()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true within 20 s")


async def add(api: httpx.AsyncClient, document: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/rules", json={"document": document})
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()
    return added


async def test_from_camera_and_rule_to_an_alert_that_a_person_resolves(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        now = SystemClock().now()
        await world.say(camera(effective_at=now), topic=topics.CAMERAS)
        await until(lambda: len(world.of(PlanDecided)) == 1)
        saved = await add(api, enters())
        assert (saved["revision"], [one["path"] for one in saved["warnings"]]) == (1, ["$.tests"])
        await until(lambda: len(world.of(RuleDefined)) == 1)
        start = now + 10_000_000
        frames = [
            frame(n, 50, captured_at=start + n * FIFTH) for n in range(1, 30)
        ]  # event time need not be now
        await world.say(opened(at=start), *frames)
        await until(lambda: len(world.of(AlertRaised)) == 1)
        (incident,) = world.of(IncidentOpened)
        path = f"/incidents/{incident.incident}/transitions"
        key = {"Idempotency-Key": "one"}
        body = {"target": "RESOLVED", "outcome": "tp"}
        first = await api.post(path, json=body, headers=key)
        again = await api.post(path, json=body, headers=key)
        assert first.status_code == 201
        assert first.json() == again.json()
        assert [one["target"] for one in first.json()["transitions"]] == ["ACKED", "RESOLVED"]
        late = await api.post(path, json={"target": "ACKED"})
        assert (late.status_code, "RESOLVED" in late.json()["detail"]) == (409, True)
        assert (await api.post(path, json={"target": "CLOSED"})).status_code == 201
        await until(lambda: len(world.of(IncidentMoved)) == 7)
        assert [move.seq for move in world.of(IncidentMoved)] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_restart_says_nothing_twice(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await world.say(camera(), topic=topics.CAMERAS)
        await add(api, enters())
        await until(lambda: len(world.of(RuleDefined)) == 1 and len(world.of(PlanDecided)) == 1)
    again = World()
    async with running(tmp_path, again) as api:
        await again.say(camera("back"), topic=topics.CAMERAS)
        await until(lambda: len(again.of(PlanDecided)) == 1)
        assert [plan.camera for plan in again.of(PlanDecided)] == ["back"]
        assert [rule["id"] for rule in (await api.get("/rules")).json()["items"]] == ["enters"]
        await again.forget("back")
        await until(lambda: any(one.event is None for one in again.heard))
        assert again.heard[-1].topic == "plans"


async def test_rules_over_http(tmp_path: Path) -> None:
    world = World()
    async with running(tmp_path, world) as api:
        await add(api, enters())
        assert (await api.post("/rules", json={"document": enters()})).status_code == 409
        wrong = await api.post("/rules", json={"document": {**enters("x"), "colour": "red"}})
        assert wrong.status_code == 422
        assert "$.colour" in wrong.json()["detail"]
        same = await api.put("/rules/enters", json={"document": enters()})
        assert same.json()["revision"] == 1
        new = await api.put("/rules/enters", json={"document": enters(level="low"), "revision": 1})
        assert (new.json()["revision"], new.json()["level"]) == (2, "low")
        stale = await api.put("/rules/enters", json={"document": enters(), "revision": 1})
        assert stale.status_code == 409
        assert (await api.put("/rules/enters", json={"document": enters("y")})).status_code == 422
        versions = (await api.get("/rules/enters/versions")).json()["items"]
        assert [one["revision"] for one in versions] == [2, 1]
        assert (await api.delete("/rules/enters")).status_code == 204
        assert (await api.get("/rules/enters")).status_code == 404
        assert (await api.delete("/rules/enters")).status_code == 404
        assert (await add(api, enters()))["revision"] == 4
        await until(lambda: any(one.event is None for one in world.heard))


async def test_tests_of_a_rule_are_run_before_it_is_saved(tmp_path: Path) -> None:
    square = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]
    document = enters(defs={"zones": {"door": square}}, tests=[{"dwell": "300ms", "fires": True}])
    async with running(tmp_path, World()) as api:
        refused = await api.post("/rules", json={"document": document})
        assert refused.status_code == 422
        assert "$.tests[0]" in refused.json()["detail"]
        lint = (await api.post("/rules/lint", json={"documents": [document, 3]})).json()
        assert (lint["ok"], lint["results"][0]["tests"][0]["passed"]) == (False, False)
        document["tests"] = [{"dwell": "1s", "fires": True}]
        assert (await add(api, document))["warnings"] == []
        told = (await api.post("/rules/enters/test")).json()
        assert [one["passed"] for one in told["tests"]] == [True]
        assert (await api.get("/rules/schema")).json()["title"] == "camrule/v1"


async def test_what_is_not_there_and_what_nobody_may_ask(tmp_path: Path) -> None:
    async with running(tmp_path, World()) as api:
        none = await api.post("/incidents/none/transitions", json={"target": "ACKED"})
        assert none.status_code == 404
        bad = await api.post("/incidents/none/transitions", json={"target": "OPEN"})
        assert bad.status_code == 422
