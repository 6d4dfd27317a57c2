"""What a process shows at a scrape: figures of the moment, of what it has now, and none of what it gave up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus.port import Batch, Subscription
from shared.clock import ManualClock, SystemClock
from shared.db.engine import Database
from shared.db.sqlite import READERS, open_sqlite
from shared.metrics import Metrics
from shared.service import Running
from shared.shelves import Ages, Shelf
from tests.unit.platform import toys

if TYPE_CHECKING:
    from shared.platform import ServicePlatform

NOW = 1_790_000_000_000_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}"
    async with open_sqlite(url, service="toy", clock=SystemClock()) as opened:
        yield opened


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_an_age_is_that_of_the_scrape_and_never_negative() -> None:
    clock, registry = ManualClock(NOW), CollectorRegistry(auto_describe=True)
    pulled = Shelf(registry, [], "toy").pulled("age_seconds", "Age.", "camera")
    ages = Ages(pulled, clock)
    ages.touch("yard", NOW - 2_000_000)
    ages.touch("ahead", NOW + 5_000_000)  # another host's clock
    clock.advance(3)

    def age(camera: str) -> float | None:
        return registry.get_sample_value("vantage_age_seconds", {"camera": camera})

    assert (age("yard"), age("ahead")) == (5.0, 0.0)
    ages.touch("yard", NOW - 9_000_000)  # older news is no news
    assert age("yard") == 5.0
    ages.forget("yard")
    assert age("yard") is None


def test_what_cannot_be_read_takes_only_its_own_figure_along() -> None:
    registry = CollectorRegistry(auto_describe=True)
    pulled = Shelf(registry, [], "toy").pulled("free_bytes", "Room.", "disk")

    def broken() -> Iterator[tuple[tuple[str, ...], float]]:
        yield ("one",), 1.0
        raise OSError("no such disk")

    pulled.ask(broken)
    pulled.ask(lambda: [(("two",), 2.0)])
    assert registry.get_sample_value("vantage_free_bytes", {"disk": "one"}) == 1.0
    assert registry.get_sample_value("vantage_free_bytes", {"disk": "two"}) == 2.0


async def test_a_pool_tells_what_is_lent_out(database: Database) -> None:
    async with database.transaction(), database.read(), database.read():
        pools = database.pools()
    assert (pools["writer"].in_use, pools["writer"].limit) == (1, 1)
    assert (pools["reader"].in_use, pools["reader"].limit) == (2, READERS)
    after = database.pools()
    assert (after["reader"].in_use, after["reader"].idle) == (0, 2)


async def test_the_host_and_the_databases_are_read_at_the_scrape(tmp_path: Path) -> None:
    app = toys.app_of(tmp_path, toys.service(migrations="services.vms.migrations", name="vms"))
    async with toys.lifespan(app):
        await asyncio.to_thread(app.metrics.exposition)  # as a scrape does
        metrics = app.metrics
        total = value(metrics, "vantage_host_disk_bytes", state="total")
        assert total is not None
        assert total > (value(metrics, "vantage_host_disk_bytes", state="free") or 0) > 0
        assert value(metrics, "vantage_host_memory_bytes", state="available")
        assert value(metrics, "vantage_host_cpu_seconds_total", mode="user")
        assert value(metrics, "vantage_host_cpu_seconds_total", mode="guest") is None
        limit = {"service": "vms", "pool": "reader"}
        assert value(metrics, "vantage_db_pool_limit_connections", **limit) == READERS


async def test_a_consumers_queue_and_lag_are_read_off_its_lanes(tmp_path: Path) -> None:
    heard, go_on = asyncio.Event(), asyncio.Event()

    async def handle(_batch: Batch) -> None:
        heard.set()
        await go_on.wait()

    slow = Subscription(
        topics=(topics.CAMERA_STATUS,), group="toy", handler=handle, each=True, max_batch=10
    )
    seen: list[ServicePlatform] = []
    service = toys.service(
        Running(subscriptions=[slow]),
        seen=seen,
        produces=(topics.CAMERA_STATUS,),
        consumes=(topics.CAMERA_STATUS,),
    )
    app = toys.app_of(tmp_path, service)
    place = {"group": "toy", "topic": "camera-status"}

    def waiting() -> float:
        return value(app.metrics, "vantage_bus_queue_depth", **place) or 0.0

    async with toys.lifespan(app):
        said = [seen[0].publisher.mint(status()) for _ in range(4)]
        await seen[0].publisher.publish(said)
        async with asyncio.timeout(20):
            await heard.wait()
        await until(lambda: waiting() == 3)  # the fourth is in work
        assert value(app.metrics, "vantage_bus_consumer_stuck", consumer="toy.toy.0") == 0
        go_on.set()
        await until(lambda: waiting() == 0)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 20 s")


def status() -> CameraStatusChanged:
    return CameraStatusChanged(
        camera="yard", state="online", reason="", changed_at=NOW, epoch=1, lease=1
    )
