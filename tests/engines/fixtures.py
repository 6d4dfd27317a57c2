"""The engines as fixtures. A machine that lacks one skips its tests, or fails under VANTAGE_REQUIRE_ENGINES=1."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Browser, async_playwright

from tests.engines.chromium import ARGUMENTS, require_chromium
from tests.engines.disks import Disk, FullDisk, ReadOnlyDisk, require_disks
from tests.engines.footage import Footage
from tests.engines.kafka import KafkaBroker, KafkaCluster, make_broker, make_cluster
from tests.engines.kafka_doors import Doors, make_doors
from tests.engines.postgres import PostgresServer, make_postgres
from tests.engines.redis import RedisServer, make_redis
from tests.engines.require import require_data
from tests.engines.rtsp import Login, RtspCamera, RtspServer, make_server
from tests.engines.versitygw import S3Server, make_s3

MakeCamera = Callable[..., RtspCamera]


class Data(NamedTuple):
    """Paths of the test data; asking for one that is not there skips (or fails) the test."""

    def media(self, name: str) -> Path:
        """A video or its ground truth, e.g. `pets09-s2l1-300.mp4`."""
        return require_data("media", name)

    def model(self, name: str = "yolox_nano.onnx") -> Path:
        """A detector."""
        return require_data("models", name)

    def mot(self, sequence: str, name: str = "gt.txt") -> Path:
        """A MOTChallenge file (`gt.txt` or `det.txt`) of a sequence, e.g. `KITTI-17`."""
        return require_data("mot", sequence, name)


@pytest.fixture(scope="session")
def test_data() -> Data:
    """Paths of the test data."""
    return Data()


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """One real broker for all tests of this process. Use topics and groups of your own; never kill it."""
    broker = make_broker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture
def own_kafka_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A real broker for this test alone, to be killed, stopped, frozen and restarted (4 s to start)."""
    with make_broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def kafka_cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    """Three real brokers for this test alone, replication 3, to be killed and frozen (6 s to start, 0.9 GB)."""
    cluster = make_cluster(tmp_path / "kafka")
    yield cluster
    cluster.kill()


@pytest.fixture(scope="session")
def kafka_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A real broker with TLS, mutual TLS and logins; never kill it."""
    doors = make_doors(tmp_path_factory.mktemp("doors"))
    yield doors
    doors.broker.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for all tests of this process. Use a prefix of your own; never kill or flush it."""
    with make_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis for this test alone, to be killed, flushed, frozen and restarted."""
    with make_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3-compatible store for all tests of this process. Use a prefix of your own; never kill it."""
    with make_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def own_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    """A real S3-compatible store for this test alone, to be killed, frozen and restarted."""
    with make_s3(tmp_path / "s3") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real server for all tests of this process. Use databases of your own; never kill it."""
    with make_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """VANTAGE_DB_URL of an empty database of this test alone."""
    name = postgres_server.new_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """VANTAGE_DB_URL of an empty database of this test alone, on each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A real server for this test alone, to be killed, stopped, frozen and restarted (1 s to start)."""
    with make_postgres() as server:
        yield server


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], FullDisk]]:
    """Make disks of so many megabytes that can be filled: `full_disk(24)`."""
    require_disks()
    made: list[FullDisk] = []

    def make(megabytes: int) -> FullDisk:
        made.append(FullDisk(megabytes))
        return made[-1]

    yield make
    for disk in made:
        disk.remove()


@pytest.fixture(params=[FullDisk, ReadOnlyDisk], ids=["full", "read-only"])
def bad_disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """A disk of 256 MB that fills up, and one that turns read-only, in turn."""
    require_disks()
    disk: Disk = request.param(256)
    yield disk
    disk.remove()


@pytest.fixture(scope="session")
def rtsp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    """The process that plays RTSP cameras; `mount()` gives one."""
    server = make_server(tmp_path_factory.mktemp("rtsp"))
    yield server
    server.close()


@pytest.fixture
def rtsp_camera(rtsp_server: RtspServer) -> Iterator[MakeCamera]:
    """Make RTSP cameras that are gone when the test ends: `rtsp_camera(width=640, login=Login("u", "p"))`."""
    made: list[RtspCamera] = []

    def make(*, login: Login | None = None, **footage: object) -> RtspCamera:
        shot = Footage()._replace(**footage)  # type: ignore[arg-type]  # Footage's own fields, by name
        made.append(rtsp_server.mount(shot, login=login))
        return made[-1]

    yield make
    for camera in made:
        camera.remove()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for Playwright's `executable_path`."""
    return require_chromium()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A headless Chromium of this test alone."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
        yield browser
        await browser.close()
