"""PostgreSQL killed, frozen, slow, and a transaction that stays open (R12, R13, R14), under a service at work."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.vms.service import SERVICE
from shared.clock import SystemClock
from shared.db.engine import Database, DatabaseUnavailable
from shared.db.postgres import open_postgres
from shared.db.relay import Relay
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.settings import Configuration, PlatformSettings
from tests.chaos.proxy import FaultProxy
from tests.chaos.turns import FAULTS, TIMES
from tests.engines.postgres import PostgresServer
from tests.unit.db.test_relay import Said, left, running, status

pytestmark = pytest.mark.postgres
RECOVERY_S = 15.0
PATIENCE_S = 60.0  # of a caller; far more than any answer may take


class Callers:
    """People who add cameras, one after the other, and write down what they are answered."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self.acked: list[str] = []
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self._api = api
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def at_work(self, count: int = 4) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._call(number))
            try:
                yield
            finally:
                self._stop.set()

    async def until_acked(self, seconds: float) -> None:
        """Until somebody is answered with a success again."""
        before = len(self.acked)
        await until(lambda: len(self.acked) > before, seconds)

    async def _call(self, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"c{caller}-{number}"
            number += 1
            began = time.monotonic()
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._api.post(
                    "/api/v1/cameras", json={"name": name, "url": f"rtsp://127.0.0.10/{name}"}
                )
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.answers[answer.status_code] += 1
            if answer.status_code == 201:
                self.acked.append(answer.json()["id"])
            elif answer.status_code != 503:
                raise AssertionError(f"{answer.status_code}: {answer.text}")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def service(
    folder: Path, url: str, *, bus: str = "memory://"
) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's client of a process of vms on this database and log."""
    settings = PlatformSettings.model_validate(
        {
            "data_dir": folder,
            "bus_url": bus,
            "db_url": url,
            "camera_nets": ["127.0.0.0/8"],
            "port": 8000,
        }
    )
    app = application([SERVICE], settings, configuration=Configuration())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(local_owner(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://vantage") as api:
            yield api


async def cameras(api: httpx.AsyncClient) -> set[str]:
    answer = await api.get("/api/v1/cameras")
    assert answer.status_code == 200, answer.text
    return {camera["id"] for camera in answer.json()["items"]}


def times(server: PostgresServer, database: str) -> tuple[int, int]:
    """How many cameras are stored, and how many of their events still wait."""
    found = server.sql(
        "SELECT count(*) FROM vms.cameras", "SELECT count(*) FROM vms.outbox", database=database
    )
    stored, waiting = found.split()
    return int(stored), int(waiting)


@pytest.mark.row("R12", inside=True)
@pytest.mark.parametrize("kills", [1, pytest.param(TIMES, marks=pytest.mark.chaos)])
async def test_killed_and_back_no_success_was_a_lie(
    own_postgres_server: PostgresServer,
    tmp_path: Path,
    kills: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, kills)
    server = own_postgres_server
    name = server.new_database()
    async with service(tmp_path, server.url(name)) as api:
        callers = Callers(api)
        async with callers.at_work():
            for _ in range(kills):
                await callers.until_acked(PATIENCE_S)
                await asyncio.to_thread(server.kill)
                before = callers.answers[503]
                await until(lambda: callers.answers[503] > before + 4)  # noqa: B023 - awaited here
                await asyncio.to_thread(server.start)
                await callers.until_acked(RECOVERY_S)
        assert set(callers.acked) <= await cameras(api)
        await until(lambda: times(server, name)[1] == 0)
        health = await api.get("/ready")
        assert health.status_code == 200, health.text
    assert set(callers.answers) == {201, 503}


@pytest.mark.row("R13", inside=True)
@pytest.mark.parametrize("freezes", [1, pytest.param(TIMES, marks=pytest.mark.chaos)])
async def test_frozen_everybody_is_answered_and_it_comes_back(
    own_postgres_server: PostgresServer,
    tmp_path: Path,
    freezes: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, freezes)
    server = own_postgres_server
    name = server.new_database()
    async with service(tmp_path, server.url(name)) as api:
        callers = Callers(api)
        async with callers.at_work(12):
            for _ in range(freezes):
                await callers.until_acked(PATIENCE_S)
                server.freeze()
                before = callers.answers[503]
                await until(lambda: callers.answers[503] > before + 24)  # noqa: B023 - awaited here
                server.thaw()
                await callers.until_acked(RECOVERY_S)
        assert set(callers.acked) <= await cameras(api)
        await until(lambda: times(server, name)[1] == 0)
    assert set(callers.answers) == {201, 503}


@pytest.mark.row("R13")
async def test_a_full_pool_answers_before_the_server_would(
    own_postgres_server: PostgresServer,
) -> None:
    """With every connection stuck on a frozen server, the next caller hears of it while they still wait."""
    server = own_postgres_server
    url = server.url(server.new_database())
    async with open_postgres(url, service="vms", clock=SystemClock(), pool=2) as database:
        await write(database, 0)
        server.freeze()
        stuck = asyncio.create_task(write(database, 1))
        await asyncio.sleep(0.1)
        with pytest.raises(DatabaseUnavailable, match="no connection was free"):
            await asyncio.create_task(write(database, 2))
        assert not stuck.done()
        with pytest.raises(DatabaseUnavailable, match="took too long"):
            await stuck
        server.thaw()
        await until_written(database, 3)


@pytest.mark.row("R13", "R19")
@pytest.mark.chaos
async def test_a_slow_link_and_a_black_hole(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    with FaultProxy("127.0.0.1", postgres_server.port) as link:
        url = postgres_url.replace(str(postgres_server.port), str(link.port))
        async with service(tmp_path, url) as api:
            callers = Callers(api)
            async with callers.at_work(12):
                for faults in ({"latency_s": 0.5}, {"black_hole": True}):
                    await callers.until_acked(PATIENCE_S)
                    link.set(**faults)
                    before = callers.answers[503]
                    await until(lambda: callers.answers[503] > before + 12)  # noqa: B023 - awaited here
                    link.heal()
                    await callers.until_acked(RECOVERY_S)
            assert set(callers.acked) <= await cameras(api)


@pytest.mark.row("R14")
@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, marks=pytest.mark.chaos)])
async def test_a_transaction_that_stays_open_makes_the_relay_skip_nothing(
    postgres_url: str, seconds: float
) -> None:
    said, acked = Said(), list[str]()
    async with (
        open_postgres(postgres_url, service="vms", clock=SystemClock(), pool=40) as database,
        open_postgres(postgres_url, service="vms", clock=SystemClock(), pool=40) as other,
        running(Relay(database, said, owner="relay", clock=database.clock, poll_s=0.1)),
    ):
        ends = asyncio.Event()

        async def write_on(writer: int) -> None:
            number = 0
            while not ends.is_set():
                await add(other if writer % 2 else database, writer, number, acked)
                number += 1

        async with asyncio.TaskGroup() as writers:
            async with other.transaction() as held:
                await held.add([numbered("held", 0)])
                for writer in range(16):
                    writers.create_task(write_on(writer))
                await stay(held, seconds, until=lambda: len(said.ids) > 16)
                assert "held/0" not in said.ids
            acked.append("held/0")
            await until(lambda: "held/0" in said.ids)
            ends.set()
        await until_empty(database)
    assert Counter(said.ids) == Counter(acked)
    for writer in range(16):
        own = [id for id in said.ids if id.startswith(f"w{writer}/")]
        assert own == [f"w{writer}/{number}" for number in range(len(own))]


async def stay(transaction: Any, seconds: float, *, until: Callable[[], bool]) -> None:
    """Keep a transaction open, not idle, since the server ends those; at most two minutes longer, `until` this is so."""
    from sqlalchemy import text

    end = time.monotonic() + seconds
    while time.monotonic() < end or not until():
        assert time.monotonic() < end + 120
        await transaction.execute(text("SELECT pg_sleep(0.2)"))


def numbered(key: str, number: int) -> Any:
    import msgspec

    return msgspec.structs.replace(status(number), id=f"{key}/{number}", key=key)


async def add(database: Database, writer: int, number: int, acked: list[str]) -> None:
    event = numbered(f"w{writer}", number)
    async with database.transaction() as tx:
        await tx.add([event])
    acked.append(event.id)


async def write(database: Database, number: int) -> None:
    async with database.transaction() as tx:
        await tx.add([status(number)])


async def until_written(database: Database, number: int) -> None:
    async with asyncio.timeout(RECOVERY_S):
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                return await write(database, number)
            await asyncio.sleep(0.1)


async def until_empty(database: Database) -> None:
    end = time.monotonic() + PATIENCE_S
    while await left(database):
        assert time.monotonic() < end, "the outbox is not emptied"
        await asyncio.sleep(0.02)


async def until(true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        await asyncio.sleep(0.02)
