"""The disk under Kafka or PostgreSQL fills up, or turns read-only, under load and before a start (R4d, R12d).

Both may end by themselves then, as they document. They are started again when the disk is well, as a supervisor does.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.event import Topic
from schemas.topics import CAMERAS
from shared.bus.kafka import open_kafka
from shared.bus.port import Log
from shared.clock import SystemClock
from shared.db.postgres import open_postgres
from shared.errors import Setup, Transient
from tests.chaos.rig import Rig
from tests.chaos.test_postgres import Callers, cameras, service, times
from tests.chaos.test_postgres import until as becomes
from tests.chaos.worker import topics
from tests.contract.bus import everything, fact, make_topic
from tests.engines.disks import Disk, FullDisk
from tests.engines.kafka import KafkaBroker, make_broker
from tests.engines.postgres import PostgresServer, make_postgres
from tests.integration.test_runtime_process import once

NOTICED = 60.0  # seconds until a broker on a bad disk has stopped taking records
DRAIN = 60.0  # seconds from its return until everything has arrived
SEND = 5.0
SAID = ("free some space", "has turned read-only", "does not answer")
START = 60.0  # seconds in which a process on a bad disk must have given up


@pytest.fixture
def broker(bad_disk: Disk, tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker whose records are on the disk that goes bad; its own log is not."""
    made = make_broker(tmp_path / "kafka", more={"log.dirs": str(bad_disk.place / "kafka")})
    yield made
    made.kill()


@pytest.fixture
def server(bad_disk: Disk) -> Iterator[PostgresServer]:
    """A server whose data are on the disk that goes bad; its log is not."""
    made = make_postgres(data=bad_disk.place / "postgres")
    yield made
    made.remove()


@pytest.mark.kafka
@pytest.mark.row("R4d")
async def test_kafka_sends_end_in_time_and_all_arrives_once_in_order(
    bad_disk: Disk, broker: KafkaBroker, tmp_path: Path
) -> None:
    spare = make_topic()
    async with under_load(broker, tmp_path, spare) as log:
        fails(bad_disk, broker)
        slowest, said = await refused(log, spare)
        assert slowest < SEND + 2, "a send outlived its deadline"
        assert "Kafka did not acknowledge" in said
        await mends(bad_disk, broker)


@pytest.mark.kafka
@pytest.mark.row("R4d")
async def test_kafka_the_outbox_holds_what_was_said_and_health_says_why(
    bad_disk: Disk, broker: KafkaBroker, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'db'}"
    async with service(tmp_path / "data", url, bus=broker.url) as api:
        door = Door(api)
        await door.added()
        await door.changed(20)
        await becomes_true(lambda: waits(api, 0), DRAIN)
        fails(bad_disk, broker)
        health = await door.changed_until_degraded()
        assert "Kafka" in health["details"]["dependencies"]["log"]["reason"]
        await door.changed(20)
        outbox = (await asked(api))["details"]["services"]["vms"]["checks"]["outbox"]
        assert outbox["details"]["waiting"] >= 20
        await mends(bad_disk, broker)
        await becomes_true(lambda: waits(api, 0), DRAIN)
        await becomes_true(lambda: is_well(api), DRAIN)
    async with open_kafka(broker.url, [CAMERAS]) as log:
        records = await everything(log, CAMERAS)
    versions = [json.loads(record.value or b"")["document_version"] for record in records]
    assert list(dict.fromkeys(versions)) == list(range(1, door.version + 1))
    assert versions[-1] == door.version
    assert len({dict(record.headers)["ce_id"] for record in records}) == door.version


@pytest.mark.kafka
@pytest.mark.row("R4d")
async def test_kafka_a_start_on_it_is_refused_with_the_remedy(
    bad_disk: Disk, broker: KafkaBroker, tmp_path: Path
) -> None:
    fails(bad_disk, broker)
    began = time.monotonic()
    ended = await asyncio.to_thread(
        once, tmp_path / "data", "run", "vms", "--port", "0", VANTAGE_BUS_URL=broker.url
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert time.monotonic() - began < START
    assert "disk" in ended.stderr, ended.stderr
    await mends(bad_disk, broker)
    async with service(tmp_path / "data", f"sqlite+aiosqlite:///{tmp_path}", bus=broker.url) as api:
        await Door(api).added()
        await becomes_true(lambda: waits(api, 0), DRAIN)


@pytest.mark.postgres
@pytest.mark.row("R12d")
async def test_postgres_no_success_was_a_lie_and_it_goes_on(
    bad_disk: Disk, server: PostgresServer, tmp_path: Path
) -> None:
    name = server.new_database()
    async with service(tmp_path, server.url(name)) as api:
        callers = Callers(api)
        async with callers.at_work():
            await callers.until_acked(60)
            for _ in range(2):
                before = callers.answers[503]
                bad_disk.fails()
                await becomes(lambda: callers.answers[503] > before + 20)  # noqa: B023 - awaited here
                health = await asked(api)
                assert health["status"] in ("degraded", "unhealthy"), health
                database = health["details"]["dependencies"]["vms.database"]
                assert any(word in database["reason"] for word in SAID), database
                await mended(bad_disk, server)
                await callers.until_acked(30)
        assert set(callers.acked) <= await cameras(api)
        await becomes(lambda: times(server, name)[1] == 0)
        await becomes_true(lambda: is_well(api), 30)
    assert set(callers.answers) == {201, 503}
    assert callers.slowest < 15


@pytest.mark.postgres
@pytest.mark.row("R12d")
async def test_postgres_a_start_on_it_is_refused_with_the_remedy(
    bad_disk: Disk, server: PostgresServer
) -> None:
    url = server.url(server.new_database())
    bad_disk.fails()
    began = time.monotonic()
    with pytest.raises(Setup, match="|".join(SAID)):
        async with opened(url):
            pass
    assert time.monotonic() - began < START
    await mended(bad_disk, server)
    async with opened(url) as database:
        assert (await database.check()).status == "healthy"


def opened(url: str) -> Any:
    """The database as vms opens it: all of its tables are to be made."""
    migrations = "services.vms.migrations"
    return open_postgres(url, service="vms", clock=SystemClock(), migrations=migrations)


def fails(disk: Disk, broker: KafkaBroker) -> None:
    """The disk goes bad at one moment: Kafka acknowledges what is in the page cache, which must not go with it."""
    broker.freeze()
    disk.fails()
    broker.thaw()


async def mends(disk: Disk, broker: KafkaBroker) -> None:
    """The disk is well, and the broker started anew, whether it had ended by itself or not."""
    broker.kill()
    disk.mends()
    await asyncio.to_thread(broker.start)


async def mended(disk: Disk, server: PostgresServer) -> None:
    """Space is made and the server goes on; one that ended by itself, or whose disk was mounted anew, is started."""
    if isinstance(disk, FullDisk):
        disk.mends()
        await asyncio.sleep(1)
    if server.ended or not isinstance(disk, FullDisk):
        server.kill()
        if not isinstance(disk, FullDisk):
            disk.mends()
        await asyncio.to_thread(server.start)


class Door:
    """Changes one camera again and again, each time acknowledged: every version is an event of the same key."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self.version = 0
        self._api = api

    async def added(self) -> None:
        """Add it."""
        body = {"name": "door", "url": "rtsp://127.0.0.10/door"}
        answer = await self._api.post("/api/v1/cameras", json=body)
        assert answer.status_code == 201, answer.text
        self.version = 1

    async def changed(self, times: int) -> None:
        """Change it so often."""
        for _ in range(times):
            body = {"enabled": self.version % 2 == 0}
            answer = await self._api.patch("/api/v1/cameras/door", json=body)
            assert answer.status_code == 200, answer.text
            self.version = answer.json()["document_version"]

    async def changed_until_degraded(self) -> dict[str, Any]:
        """Change it until the process says that the log is not well; answers that word."""
        end = time.monotonic() + NOTICED
        while True:
            await self.changed(1)
            health = await asked(self._api)
            if health["details"]["dependencies"]["log"]["status"] == "degraded":
                return health
            assert time.monotonic() < end, health
            await asyncio.sleep(0.1)


@asynccontextmanager
async def under_load(broker: KafkaBroker, folder: Path, spare: Topic) -> AsyncIterator[Log]:
    """Hurt it inside the block; after it everything acknowledged must be there, once and in order."""
    rig = Rig(broker.url, folder, None)
    async with (
        open_kafka(broker.url, [*topics(rig.prefix), spare]) as log,
        rig.driven(log, "a", drain=DRAIN),
    ):
        await rig.reached(40)
        yield log
        await rig.reached(len(rig.ledger.read()[1]) + 40)


async def refused(log: Log, topic: Topic) -> tuple[float, str]:
    """Send until three in a row were refused; answers how long the slowest took, and the last one's words."""
    slowest, said, refusals, end = 0.0, "", 0, time.monotonic() + NOTICED
    while refusals < 3:
        assert time.monotonic() < end, "the broker still takes records"
        began = time.monotonic()
        try:
            await log.append([fact(topic, "spare", 0)], timeout=SEND)
            refusals = 0
        except Transient as error:
            said, refusals = str(error), refusals + 1
        slowest = max(slowest, time.monotonic() - began)
    return slowest, said


async def asked(api: httpx.AsyncClient) -> dict[str, Any]:
    """The document of `/health`."""
    health: dict[str, Any] = (await api.get("/health")).json()
    return health


async def is_well(api: httpx.AsyncClient) -> bool:
    return (await api.get("/ready")).status_code == 200 and (await asked(api))[
        "status"
    ] == "healthy"


async def waits(api: httpx.AsyncClient, most: int) -> bool:
    outbox = (await asked(api))["details"]["services"]["vms"]["checks"]["outbox"]
    return int(outbox["details"]["waiting"]) <= most


async def becomes_true(asks: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not await asks():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        await asyncio.sleep(0.2)
