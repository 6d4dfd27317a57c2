"""Two processes of one service on one PostgreSQL: what each of them looks at first may change under its hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from services.gateway.service import SERVICE as GATEWAY
from services.ingest import store as streams
from services.notifier.domain import Subscription
from services.notifier.store import Channel, Store
from services.vms.service import SERVICE as VMS
from shared.clock import ManualClock
from shared.db.base import OUTBOX
from shared.db.engine import Database
from shared.db.leases import Leases
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.service import Service
from shared.settings import Configuration, PlatformSettings
from tests.engines.databases import open_database
from tests.unit.vms.happenings import alert

pytestmark = pytest.mark.postgres
NOW = 1_800_000_000_000_000


@asynccontextmanager
async def processes(
    service: Service, folder: Path, url: str, count: int = 2
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Processes that start at once, each with its own pools, on the same keys as an installation has."""
    settings = PlatformSettings.model_validate(
        {
            "data_dir": folder,
            "bus_url": "memory://",
            "db_url": url,
            "camera_nets": ["127.0.0.0/8"],
            "port": 8000,
        }
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(service, settings))  # the keys are made once
        yield list(
            await asyncio.gather(
                *(stack.enter_async_context(started(service, settings)) for _ in range(count))
            )
        )


@asynccontextmanager
async def started(service: Service, settings: PlatformSettings) -> AsyncIterator[httpx.AsyncClient]:
    app = application([service], settings, configuration=Configuration(), works=False)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(local_owner(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://vantage") as client:
            yield client


async def test_of_cameras_of_one_name_one_is_added(tmp_path: Path, postgres_url: str) -> None:
    async with processes(VMS, tmp_path, postgres_url) as (one, two):
        bodies = [
            {"name": name, "url": f"rtsp://127.0.0.10/{number}"}
            for number, name in enumerate(["Door", "DOOR", "door", "dOOr"])
        ]
        answers = await asyncio.gather(
            *(api.post("/api/v1/cameras", json=body) for body in bodies for api in (one, two))
        )
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        items = (await one.get("/api/v1/cameras")).json()["items"]
        assert len(items) == 1


async def test_of_changes_of_one_camera_none_is_lost(tmp_path: Path, postgres_url: str) -> None:
    async with processes(VMS, tmp_path, postgres_url) as (one, two):
        body = {"name": "Door", "url": "rtsp://127.0.0.10/door"}
        id = (await one.post("/api/v1/cameras", json=body)).json()["id"]
        place = f"/api/v1/cameras/{id}"
        changes: list[dict[str, Any]] = [{"name": "Gate"}, {"enabled": False}] * 3
        answers = await asyncio.gather(
            *(
                api.patch(place, json=change)
                for api, change in zip([one, two] * 3, changes, strict=True)
            )
        )
        assert {answer.status_code for answer in answers} <= {200, 409}
        camera = (await one.get(place)).json()
        said = {
            name
            for answer, change in zip(answers, changes, strict=True)
            if answer.status_code == 200
            for name in change.items()
        }
        assert all(camera[name] == value for name, value in said)
        assert said


async def test_an_administrator_remains(tmp_path: Path, postgres_url: str) -> None:
    async with processes(GATEWAY, tmp_path, postgres_url) as (one, two):
        body = {"name": "second", "role": "admin", "password": "correct horse"}
        assert (await one.post("/api/v1/users", json=body)).status_code == 201
        users = (await one.get("/api/v1/users")).json()["items"]
        admins = [user["id"] for user in users if user["role"] == "admin"]
        assert len(admins) == 2
        answers = await asyncio.gather(
            one.patch(f"/api/v1/users/{admins[0]}", json={"role": "viewer"}),
            two.patch(f"/api/v1/users/{admins[1]}", json={"role": "viewer"}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_gateways_that_start_at_once_make_one_administrator(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = PlatformSettings.model_validate(
        {"data_dir": tmp_path, "bus_url": "memory://", "db_url": postgres_url, "port": 8000}
    )
    async with (
        started(VMS, settings),
        AsyncExitStack() as stack,
    ):  # the keys are there, no gateway's schema
        apis = await asyncio.gather(
            *(stack.enter_async_context(started(GATEWAY, settings)) for _ in range(3))
        )
        users = (await apis[0].get("/api/v1/users")).json()["items"]
        assert [user["name"] for user in users] == ["admin"]


@pytest.fixture
async def pair(
    request: pytest.FixtureRequest, postgres_url: str
) -> AsyncIterator[tuple[Database, Database]]:
    """Two handles of one service's database."""
    service: str = request.param
    clock = ManualClock(now=NOW)
    migrations = f"services.{service}.migrations"
    async with (
        open_database(postgres_url, service=service, clock=clock, migrations=migrations) as one,
        open_database(postgres_url, service=service, clock=clock, migrations=migrations) as two,
    ):
        yield one, two


@pytest.mark.parametrize("pair", ["notifier"], indirect=True)
async def test_no_delivery_is_claimed_twice(pair: tuple[Database, Database]) -> None:
    stores = [Store(database) for database in pair]
    listener = Subscription(id="s", channel="c", name="all")
    alerts = [alert(f"a{number}", number) for number in range(60)]
    async with pair[0].transaction() as tx:
        await stores[0].add_channel(tx, Channel(id="c", kind="webhook", name="c"))
        await stores[0].add_deliveries(tx, [(one, listener, "webhook") for one in alerts], NOW)

    async def claim(number: int) -> list[str]:
        found: list[str] = []
        for _ in range(10):
            async with pair[number % 2].transaction() as tx:
                owner = f"notifier-{number}"
                store = stores[number % 2]
                claimed = await store.claim(tx, owner, NOW, NOW + 1, limit=4, skip=[])
                found += [one.id for one in claimed]
                await tx.execute(text("SELECT pg_sleep(0.005)"))
        return found

    claims = [id for found in await asyncio.gather(*map(claim, range(4))) for id in found]
    assert len(claims) == len(set(claims)) == 60


@pytest.mark.parametrize("pair", ["notifier"], indirect=True)
async def test_more_deliveries_than_a_statement_takes_parameters(
    pair: tuple[Database, Database],
) -> None:
    store = Store(pair[0])
    listeners = [Subscription(id=f"s{n}", channel="c", name=f"s{n}") for n in range(8)]
    alerts = [alert(f"a{number}", number) for number in range(500)]
    wanted = [(one, listener, "webhook") for one in alerts for listener in listeners]
    for _ in range(2):  # the second time all stand already
        async with pair[0].transaction() as tx:
            await store.add_deliveries(tx, wanted, NOW)
            stand = await tx.execute(text("SELECT count(*) FROM deliveries"))
            assert stand.scalar_one() == 4000


@pytest.mark.parametrize("pair", ["ingest"], indirect=True)
async def test_epochs_of_a_camera_are_given_once(pair: tuple[Database, Database]) -> None:
    row = streams.Stream("door", 1, 1, "open", "rtsp://x", NOW, NOW, 0)

    async def begin(number: int) -> int:
        async with pair[number % 2].transaction() as tx:
            return await streams.begin(tx, row)

    assert sorted(await asyncio.gather(*map(begin, range(10)))) == list(range(1, 11))


@pytest.mark.parametrize("pair", ["ingest"], indirect=True)
async def test_marks_of_a_lost_lease_are_not_stored(pair: tuple[Database, Database]) -> None:
    one, two = pair
    lease = await Leases(one, one.clock).take("camera/door", "one", 10)
    assert lease is not None
    async with one.transaction() as tx:
        await streams.begin(
            tx, streams.Stream("door", 1, lease.generation, "open", "rtsp://x", NOW, NOW, 0)
        )
        await streams.note(tx, [streams.Mark("door", lease.generation, NOW + 5, 3)])
        await streams.note(tx, [streams.Mark("door", lease.generation + 1, NOW + 9, 9)])
        assert await streams.renew(tx, "one", ["camera/door"], NOW + 1) == {"camera/door": 1}
        assert await streams.renew(tx, "one", [], NOW + 1) == {}
    assert await Leases(two, two.clock).take("camera/door", "two", 10) is None
    async with two.read() as reader:
        stored = await streams.load(reader, "door")
        assert stored is not None
        assert (stored.last_at, stored.position) == (NOW + 5, 3)
        assert (await reader.execute(select(OUTBOX))).all() == []
