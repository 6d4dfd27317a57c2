"""The runtime joins services: it opens, migrates, consumes, watches, reports and drains."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.events.camera_status_changed import CameraStatusChanged
from shared import telemetry
from shared.bus.port import Batch, Subscription
from shared.clock import SystemClock
from shared.errors import Setup, Transient, Unavailable
from shared.metrics import Metrics
from shared.platform import ServicePlatform
from shared.runtime.consumers import Consumer, watch
from shared.service import Health, Running, Service
from shared.supervisor import Supervisor
from tests.unit.platform import toys

STATUS = CameraStatusChanged(
    camera="door", epoch=1, state="connecting", reason="first try", changed_at=1
)

MASTER_KEY = base64.urlsafe_b64encode(bytes(32)).decode()


def said(platform: ServicePlatform) -> Any:
    return platform.publisher.mint(STATUS)


async def nothing(_batch: Batch) -> None:
    """Take it in."""


async def settled(condition: asyncio.Event) -> None:
    await asyncio.wait_for(condition.wait(), 10)


def hearing(handler: Any) -> Running:
    subscription = Subscription(topics=(topics.CAMERA_STATUS,), handler=handler, group="toy")
    return Running(router=toys.routes(), subscriptions=[subscription])


def talking(running: Running, seen: list[ServicePlatform]) -> Service:
    return toys.service(
        running, seen=seen, consumes=(topics.CAMERA_STATUS,), produces=(topics.CAMERA_STATUS,)
    )


async def test_what_a_service_says_another_hears(tmp_path: Path) -> None:
    heard = asyncio.Event()
    seen: list[ServicePlatform] = []

    async def handle(_batch: Batch) -> None:
        heard.set()

    app = toys.app_of(tmp_path, talking(hearing(handle), seen))
    async with toys.lifespan(app):
        await seen[0].publisher.publish([said(seen[0])])
        await settled(heard)


async def test_a_drain_finishes_what_is_in_flight(tmp_path: Path) -> None:
    begun = asyncio.Event()
    done: list[int] = []
    seen: list[ServicePlatform] = []

    async def handle(_batch: Batch) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        done.append(1)

    app = toys.app_of(tmp_path, talking(hearing(handle), seen))
    async with toys.lifespan(app):
        await seen[0].publisher.publish([said(seen[0])])
        await settled(begun)
    assert done == [1]


async def test_services_are_told_to_drain_before_they_are_closed(tmp_path: Path) -> None:
    order: list[str] = []

    async def drain() -> None:
        order.append("drain")

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("job ends")

    running = Running(router=toys.routes(), jobs={"job": job}, drain=drain)
    async with toys.lifespan(toys.app_of(tmp_path, toys.service(running))):
        await asyncio.sleep(0)
    assert order == ["drain", "job ends"]


async def test_a_drain_that_hangs_or_fails_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.assembly.STEP_S", 0.05)
    order: list[str] = []

    async def hang() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise RuntimeError("no")

    async def good() -> None:
        order.append("good")

    services = [
        toys.service(Running(drain=drain), name=name)
        for name, drain in (("hangs", hang), ("fails", fail), ("good", good))
    ]
    async with toys.lifespan(toys.app_of(tmp_path, *services)):
        pass
    assert order == ["good"]


@pytest.mark.parametrize(
    ("check", "overall", "status"),
    [
        (Health(status="healthy"), "healthy", 200),
        (Health(status="degraded", reason="no_model"), "degraded", 200),
        (Health(status="unhealthy", reason="gone"), "unhealthy", 503),
        (RuntimeError("rtsp://u:canary@h/"), "unhealthy", 503),
    ],
)
async def test_health_is_as_bad_as_its_worst_check(
    tmp_path: Path, check: Health | Exception, overall: str, status: int
) -> None:
    async def model() -> Health:
        if isinstance(check, Exception):
            raise check
        return check

    running = Running(router=toys.routes(), checks={"model": model})
    app = toys.app_of(tmp_path, toys.service(running))
    async with toys.lifespan(app), toys.caller(app) as client:
        answer = await client.get("/health")
        ready = await client.get("/ready")
    report = answer.json()
    assert (answer.status_code, report["status"]) == (status, overall)
    assert {"status", "service", "version", "timestamp", "details"} == set(report)
    assert report["service"] == "toy"
    assert report["details"]["models"]["toy"]["status"] == overall
    assert (ready.status_code == 200) is (overall != "unhealthy")
    assert "canary" not in answer.text + ready.text


async def test_names_and_figures_of_checks_are_for_known_callers(tmp_path: Path) -> None:
    async def cameras() -> Health:
        return Health(status="degraded", reason="one is away", details={"cameras": ["backdoor"]})

    app = toys.app_of(tmp_path, toys.service(Running(checks={"cameras": cameras})))
    async with (
        toys.lifespan(app),
        toys.caller(app) as anybody,
        toys.caller(app, owner=True) as owner,
    ):
        seen, known = await anybody.get("/health"), await owner.get("/health")
    assert "one is away" in seen.text
    assert "backdoor" not in seen.text
    assert "backdoor" in known.text


async def test_a_check_that_hangs_is_unhealthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.health.PATIENCE_S", 0.05)

    async def hang() -> Health:
        await asyncio.Event().wait()
        return Health(status="healthy")

    app = toys.app_of(tmp_path, toys.service(Running(checks={"slow": hang})))
    async with toys.lifespan(app), toys.caller(app) as client:
        report = (await client.get("/health")).json()
    assert "no answer" in json.dumps(report["details"]["services"]["toy"])


async def test_it_is_not_ready_before_a_table_is_read_nor_while_it_drains(tmp_path: Path) -> None:
    open_gate = asyncio.Event()
    drained: list[dict[str, Any]] = []

    async def handle(_batch: Batch) -> None:
        await open_gate.wait()

    table = Subscription(topics=(topics.CAMERAS,), handler=handle, group="toy", kind="table")
    holder: list[Any] = []

    async def drain() -> None:
        drained.append((await holder[0].get("/ready")).json())

    running = Running(router=toys.routes(), subscriptions=[table], drain=drain)
    app = toys.app_of(tmp_path, toys.service(running, consumes=(topics.CAMERAS,)))
    async with toys.caller(app) as client:
        holder.append(client)
        async with toys.lifespan(app):
            assert (await client.get("/ready")).json()["faults"] == {
                "toy.toy.0": "reading its table"
            }
            open_gate.set()
    assert drained == [{"ready": False, "faults": {"runtime": "draining"}}]


async def test_services_ask_each_other_as_themselves_within_the_process(tmp_path: Path) -> None:
    seen: list[ServicePlatform] = []
    app = toys.app_of(tmp_path, toys.service(), toys.service(Running(), name="other", seen=seen))
    async with toys.lifespan(app):
        async with seen[0].client("toy") as toy:
            answer = await toy.get("/toy/read")
        assert answer.json() == {"subject": "service:other", "kind": "service"}


async def test_a_service_elsewhere_is_reached_through_the_gateway_or_said_to_be_away(
    tmp_path: Path,
) -> None:
    seen: list[ServicePlatform] = []
    app = toys.app_of(
        tmp_path,
        toys.service(seen=seen),
        gateway_url="http://127.0.0.1:9",
        client_id="me",
        master_key=MASTER_KEY,
    )
    async with toys.lifespan(app), seen[0].client("elsewhere") as client:
        with pytest.raises(Unavailable, match="VANTAGE_GATEWAY_URL"):
            await client.get("/x")
        report = await app.state.runtime.checks.report()
        gateway = report["details"]["dependencies"]["gateway"]
        assert (report["status"], gateway["status"]) == ("degraded", "degraded")
        assert "VANTAGE_GATEWAY_URL" in gateway["reason"]


async def test_a_process_beside_the_others_needs_their_master_key(tmp_path: Path) -> None:
    app = toys.app_of(tmp_path, toys.service(), client_id="me")
    with pytest.raises(Setup, match="VANTAGE_MASTER_KEY"):
        async with toys.lifespan(app):
            pass


async def test_a_service_without_migrations_has_no_database(tmp_path: Path) -> None:
    seen: list[ServicePlatform] = []
    async with toys.lifespan(toys.app_of(tmp_path, toys.service(seen=seen))):
        with pytest.raises(Setup, match="migrations"):
            _ = seen[0].database


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("bus_url", "amqp://user:canary@host"),
        ("db_url", "mysql://host/db"),
        ("blob_url", "ftp://host"),
        ("cache_url", "memcached://host"),
    ],
)
async def test_an_unknown_adapter_names_the_setting_and_the_known_ones(
    tmp_path: Path, setting: str, url: str
) -> None:
    given = toys.service(migrations="services.gateway.migrations")
    app = toys.app_of(tmp_path, given, **{setting: url})
    with pytest.raises(Setup, match=f"VANTAGE_{setting.upper()}") as refused:
        async with toys.lifespan(app):
            pass
    assert "canary" not in str(refused.value)


async def test_a_service_that_cannot_start_leaves_nothing_open(tmp_path: Path) -> None:
    @asynccontextmanager
    async def start(_platform: Any, _settings: Any) -> AsyncIterator[Running]:
        if _settings is not None:
            raise Setup("the model is no model")
        yield Running()

    broken = Service(name="broken", port=1, settings=toys.ToySettings, start=start)
    ended: list[str] = []

    async def drain() -> None:
        ended.append("toy")

    app = toys.app_of(tmp_path, toys.service(Running(drain=drain)), broken)
    before = asyncio.all_tasks()
    with pytest.raises(Setup, match="no model"):
        async with toys.lifespan(app):
            pass
    assert asyncio.all_tasks() == before


async def test_transient_trouble_in_a_handler_does_not_end_the_consumer(tmp_path: Path) -> None:
    heard = asyncio.Event()
    tries: list[int] = []
    seen: list[ServicePlatform] = []

    async def handle(_batch: Batch) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise Transient("not now")
        heard.set()

    app = toys.app_of(tmp_path, talking(hearing(handle), seen))
    async with toys.lifespan(app):
        await seen[0].publisher.publish([said(seen[0])])
        await settled(heard)
    text = app.metrics.exposition().decode()
    assert (
        'vantage_bus_retries_total{error="Transient",group="toy",topic="camera-status"} 1.0' in text
    )


async def test_the_trace_of_an_event_reaches_the_log_lines_and_what_is_said_next(
    tmp_path: Path,
) -> None:
    heard = asyncio.Event()
    seen: list[ServicePlatform] = []
    found: list[tuple[str | None, str | None]] = []

    async def handle(batch: Batch) -> None:
        next_one = said(seen[0])
        found.append((telemetry.correlation_id(), next_one.correlation))
        found.append((batch.envelopes[0].traceparent, next_one.traceparent))
        heard.set()

    app = toys.app_of(tmp_path, talking(hearing(handle), seen))
    async with toys.lifespan(app):
        with telemetry.trace(None, "order-7"):
            await seen[0].publisher.publish([said(seen[0])])
        await settled(heard)
    (correlation, onward), (before, after) = found
    assert correlation == onward == "order-7"
    assert before is not None
    assert after is not None
    assert before.split("-")[1] == after.split("-")[1]
    assert before != after


class Engine:
    """As much of an engine as a consumer sees."""

    caught_up = True

    def __init__(self, health: Health) -> None:
        self._health = health
        self.started = asyncio.Event()

    async def run(self) -> None:
        self.started.set()
        await asyncio.Event().wait()

    async def drain(self, _budget: float) -> None: ...

    def health(self) -> Health:
        return self._health


async def test_a_consumer_without_progress_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.runtime.consumers.LOOK_S", 0.01)
    monkeypatch.setattr("shared.supervisor.FIRST_WAIT_S", 0.001)
    stuck = Health(status="unhealthy", reason="no progress", details={"stuck": ["t/0"]})
    engines = [Engine(stuck), Engine(Health(status="healthy"))]
    waiting = iter(engines)
    subscription = Subscription(topics=(topics.CAMERA_STATUS,), handler=nothing, group="toy")
    consumer = Consumer("toy", subscription, lambda: next(waiting), SystemClock())  # type: ignore[arg-type,return-value]  # as much as it needs
    supervisor = Supervisor(SystemClock(), Metrics().task_restarts)
    supervisor.start("toy", consumer.run)
    supervisor.start("watchdog", lambda: watch({"toy": consumer}, supervisor))
    await settled(engines[1].started)
    assert (await consumer.check()).status == "healthy"
    await supervisor.stop()
