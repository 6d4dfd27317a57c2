"""Consumers in an operator's hand and under the watchdog: nothing is lost and nothing is doubled by either."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas import topics
from schemas.cloudevents import decode
from schemas.events.audit_recorded import AuditRecorded
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus.memory import open_memory
from shared.bus.port import Batch, Log, Partition, Subscription
from shared.bus.publisher import message
from shared.clock import ManualClock, SystemClock
from shared.errors import Poison
from shared.metrics import Metrics
from shared.platform import ServicePlatform
from shared.runtime import consumers as module
from shared.runtime.consumers import OFTEN, OFTEN_S, Consumer, watch
from shared.service import Health, Running
from shared.supervisor import Supervisor
from tests.contract.bus import (
    Seen,
    everything,
    facts,
    make_engine,
    make_topic,
    subscribe,
    until,
)
from tests.unit.platform import toys

NAME = "toy.toy.0"


class Handler:
    """Takes statuses in; fails on all while `bad`."""

    def __init__(self) -> None:
        self.bad = False
        self.ids: list[str] = []

    async def __call__(self, batch: Batch) -> None:
        if self.bad:
            raise Poison("a bad deployment")
        self.ids += [envelope.id for envelope in batch.envelopes]


class Rig:
    """A toy service with one group, and its owner's client."""

    def __init__(
        self, platform: ServicePlatform, owner: httpx.AsyncClient, handler: Handler
    ) -> None:
        self.platform = platform
        self.owner = owner
        self.handler = handler

    async def say(self, numbers: range) -> None:
        def event(n: int) -> CameraStatusChanged:
            return CameraStatusChanged(camera="door", state="online", attempt=n, changed_at=n)

        minted = [self.platform.publisher.mint(event(n), id=str(n)) for n in numbers]
        await self.platform.log.append([message(one) for one in minted])

    async def shown(self) -> dict[str, Any]:
        [one] = (await self.owner.get("/consumers")).json()["items"]
        return dict(one)

    async def rewind(self, **body: Any) -> httpx.Response:
        return await self.owner.post(f"/consumers/{NAME}/rewind", json=body)

    async def said(self) -> list[tuple[str, str, str]]:
        found = await everything(self.platform.log, topics.AUDIT)
        events = [decode("audit", one.key or "", one.headers, one.value).event for one in found]
        return [
            (one.actor, one.action, one.object) for one in events if isinstance(one, AuditRecorded)
        ]


@asynccontextmanager
async def rigged(tmp_path: Path, **more: Any) -> AsyncIterator[Rig]:
    seen: list[ServicePlatform] = []
    handler = Handler()
    options = {"commit_every": 0.01, "watch_every": 0.05, "poll": 0.2}
    subscription = Subscription(
        topics=(topics.CAMERA_STATUS,), handler=handler, group="toy", options=options, **more
    )
    running = Running(router=toys.routes(), subscriptions=[subscription])
    produces = (topics.CAMERA_STATUS, topics.AUDIT)
    service = toys.service(running, seen=seen, consumes=(topics.CAMERA_STATUS,), produces=produces)
    app = toys.app_of(tmp_path, service)
    async with toys.lifespan(app), toys.caller(app, owner=True) as owner:
        yield Rig(seen[0], owner, handler)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as made:
        yield made


async def until_shown(rig: Rig, **wanted: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for _ in range(1_000):
        shown = await rig.shown()
        if wanted.items() <= shown.items():
            return shown
        await asyncio.sleep(0.02)
    raise AssertionError(shown)


async def test_consumers_are_shown(rig: Rig) -> None:
    await rig.say(range(3))
    await until(lambda: len(rig.handler.ids) == 3)
    shown = await until_shown(rig, status="healthy", lag=0)
    assert shown == {
        "name": NAME,
        "group": "toy",
        "kind": "group",
        "topics": ["camera-status"],
        "stateful": False,
        "status": "healthy",
        "reason": "",
        "stopped": False,
        "lag": 0,
    }


async def test_r9_one_that_was_stopped_goes_on_when_told_and_loses_nothing(rig: Rig) -> None:
    rig.handler.bad = True
    await rig.say(range(80))
    stopped = await until_shown(rig, stopped=True)
    assert "too many dead letters" in stopped["reason"]
    assert (await rig.owner.get("/ready")).status_code == 503
    rig.handler.bad = False
    answer = await rig.owner.post(f"/consumers/{NAME}/resume")
    assert answer.status_code == 200, answer.text
    await until(lambda: rig.handler.ids == [str(n) for n in range(50, 80)])
    await until_shown(rig, stopped=False, status="healthy", lag=0)
    assert await rig.said() == [("owner", "consumer.resumed", f"consumer:{NAME}")]
    assert (await rig.owner.get("/ready")).status_code == 200


async def test_a_group_goes_back_while_it_runs(rig: Rig) -> None:
    await rig.say(range(6))
    await until(lambda: len(rig.handler.ids) == 6)
    await until_shown(rig, lag=0)
    counted = (await rig.rewind(**{"from": "2", "dry_run": True})).json()
    assert counted["again"] == 4
    assert len(rig.handler.ids) == 6
    answer = (await rig.rewind(**{"from": "2"})).json()
    assert answer["partitions"] == [{**counted["partitions"][0], "from": 2, "to": 6}]
    await until(lambda: rig.handler.ids[6:] == ["2", "3", "4", "5"])
    await rig.say(range(6, 8))
    await until(lambda: rig.handler.ids[10:] == ["6", "7"])
    assert await rig.said() == [("owner", "consumer.rewound", f"consumer:{NAME}")]


async def test_going_back_to_a_time(rig: Rig) -> None:
    await rig.say(range(3))
    await until(lambda: len(rig.handler.ids) == 3)
    assert (await rig.rewind(**{"from": "2999-01-01T00:00:00Z"})).json()["again"] == 0
    assert (await rig.rewind(**{"from": "2020-01-01T00:00:00Z"})).json()["again"] == 3
    await until(lambda: rig.handler.ids == ["0", "1", "2"] * 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"from": "yesterday"}, "RFC 3339"),
        ({"from": "-1"}, "RFC 3339"),
        ({"topic": "alerts"}, "does not read"),
        ({"to": "3"}, "Extra"),
    ],
)
async def test_what_makes_no_sense_is_refused(rig: Rig, body: dict[str, Any], why: str) -> None:
    answer = await rig.rewind(**body)
    assert (answer.status_code, why in answer.text) == (422, True), answer.text
    assert (await rig.owner.post("/consumers/nobody/resume")).status_code == 404


class Places:
    """Positions as a stage has them."""

    async def load(self, group: str, partition: Partition) -> int | None:
        return None


async def test_what_keeps_state_does_not_go_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, positions=Places()) as rig:
        await rig.say(range(3))
        await until(lambda: len(rig.handler.ids) == 3)
        answer = await rig.rewind()
        assert (answer.status_code, "--recompute" in answer.text) == (422, True)
        assert (await rig.shown())["stateful"]
    assert rig.handler.ids == ["0", "1", "2"]


async def test_one_hand_at_a_time(rig: Rig) -> None:
    answers = await asyncio.gather(*(rig.owner.post(f"/consumers/{NAME}/resume") for _ in range(5)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert set(statuses) <= {200, 409}
    await rig.say(range(2))
    await until(lambda: rig.handler.ids == ["0", "1"])


async def test_a_hung_handler_is_found_and_its_consumer_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    topic, hangs = make_topic(partitions=1), [True]
    effects: list[str] = []

    async def handle(batch: Batch) -> None:
        if hangs[0] and batch.envelopes[0].id == "gate:7":
            hangs[0] = False
            await asyncio.sleep(3600)
        effects.extend(envelope.id for envelope in batch.envelopes)

    options = {"stuck": 0.3, "hang": 3600.0}
    subscription = subscribe(topic, handle, each=True, options=options)
    async with open_memory([topic]) as log:
        await log.append(facts(topic, ["gate"], range(20)))
        supervisor, metrics = under_watch(log, subscription)
        await until(lambda: len(effects) == 20)
        text = metrics.exposition().decode()
        await supervisor.stop()
    assert effects == [f"gate:{n}" for n in range(20)]
    assert 'vantage_task_restarts_total{task="toy"} 1.0' in text


def under_watch(log: Log, subscription: Subscription) -> tuple[Supervisor, Metrics]:
    clock = SystemClock()
    consumer = Consumer("toy", subscription, lambda: make_engine(log, subscription), clock)
    metrics = Metrics()
    supervisor = Supervisor(clock, metrics.task_restarts)
    supervisor.start("toy", consumer.run)
    supervisor.start("watchdog", lambda: watch({"toy": consumer}, supervisor))
    return supervisor, metrics


async def test_one_that_is_started_again_and_again_degrades_health() -> None:
    clock = ManualClock()
    topic = make_topic()

    class Fine:
        def health(self) -> Health:
            return Health(status="healthy", details={"lag": {}})

        async def run(self) -> None:
            await asyncio.Event().wait()

        async def drain(self, _budget: float) -> None:
            """At once."""

    consumer = Consumer("toy", subscribe(topic, Seen()), Fine, clock)  # type: ignore[arg-type]  # as much as it needs
    running = asyncio.create_task(consumer.run())
    await asyncio.sleep(0)
    for _ in range(OFTEN):
        assert (await consumer.check()).status == "healthy"
        consumer.restarted()
        clock.advance(60)
    found = await consumer.check()
    assert (found.status, "vantage consumers resume toy" in found.reason) == ("degraded", True)
    clock.advance(OFTEN_S)
    assert (await consumer.check()).status == "healthy"
    for _ in range(OFTEN):
        consumer.restarted()
    async with consumer.held():
        pass
    assert (await consumer.check()).status == "healthy"
    running.cancel()
