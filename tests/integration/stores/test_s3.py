"""An S3-compatible store that is away, refuses, or is another; and pictures that go through it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services.inference.service import SERVICE as INFERENCE
from services.vms.service import SERVICE as VMS
from shared import images
from shared.blobs.port import BlobsUnavailable
from shared.blobs.s3 import Login, S3Blobs, open_s3
from shared.errors import Setup, Transient
from tests.engines import processes
from tests.engines.certificates import Certificates, make_certificates
from tests.engines.versitygw import ACCESS, SECRET, S3Server, make_s3
from tests.integration.inference.test_service import (
    World,
    fresh,
    healthy,
    incident,
    model,
    until,
)
from tests.unit.inference.events import plan
from tests.unit.platform.toys import app_of, caller, lifespan

pytestmark = pytest.mark.s3

LOGIN = Login(ACCESS, SECRET)
KEY = "incidents/4f1c/first.jpg"
JPEG = "image/jpeg"
__all__ = ["model"]  # a fixture of the detector


@pytest.fixture
async def own_blobs(own_s3_server: S3Server) -> AsyncIterator[S3Blobs]:
    async with open_s3(own_s3_server.url("house/one"), LOGIN) as blobs:
        yield blobs


async def until_health_is(blobs: S3Blobs, status: str) -> None:
    deadline = time.monotonic() + 60
    while (await blobs.check()).status != status:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_away_for_a_while_and_back(own_s3_server: S3Server, own_blobs: S3Blobs) -> None:
    await own_blobs.put(KEY, b"kept", JPEG)
    own_s3_server.kill()
    for ask in (own_blobs.get, own_blobs.stat, own_blobs.delete, own_blobs.list):
        with pytest.raises(BlobsUnavailable, match=r"s3://vantage/house/one/ at http.* is away"):
            await ask(KEY)
    with pytest.raises(BlobsUnavailable) as caught:
        await own_blobs.put(KEY, b"other", JPEG)
    assert isinstance(caught.value, Transient)
    assert (await own_blobs.check()).status == "degraded"
    own_s3_server.start()
    await until_health_is(own_blobs, "healthy")
    assert await own_blobs.get(KEY) == b"kept"


async def test_a_store_that_hangs_is_degraded_and_heals(
    own_s3_server: S3Server, own_blobs: S3Blobs
) -> None:
    await own_blobs.put(KEY, b"kept", JPEG)
    own_s3_server.freeze()
    try:
        waits = asyncio.create_task(own_blobs.get(KEY))
        health = await own_blobs.check()
        assert (health.status, "does not answer" in health.reason) == ("degraded", True)
    finally:
        own_s3_server.thaw()
    await until_health_is(own_blobs, "healthy")
    waited = (await asyncio.gather(waits, return_exceptions=True))[0]
    assert waited == b"kept" or isinstance(waited, BlobsUnavailable)
    assert await own_blobs.get(KEY) == b"kept"


async def test_prefixes_are_apart(s3_server: S3Server) -> None:
    async with (
        open_s3(s3_server.url("apart/one"), LOGIN) as one,
        open_s3(s3_server.url("apart/one-more"), LOGIN) as more,
        open_s3(s3_server.url("apart"), LOGIN) as both,
    ):
        await one.put(KEY, b"1", JPEG)
        await more.put(KEY, b"2", JPEG)
        assert (await one.get(KEY), await more.get(KEY)) == (b"1", b"2")
        assert [stat.key for stat in await one.list()] == [KEY]
        assert [stat.key for stat in await both.list()] == [f"one-more/{KEY}", f"one/{KEY}"]


async def test_an_incidents_picture_waits_for_the_store_and_goes_through_it(
    tmp_path: Path, model: Path, own_s3_server: S3Server
) -> None:
    world = World()
    app = app_of(
        *(tmp_path, INFERENCE, VMS, world.service()),
        blob_url=own_s3_server.url("pictures"),
        s3_access_key=ACCESS,
        s3_secret_key=SECRET,
    )
    async with lifespan(app), caller(app, owner=True) as api:
        await world.tell(plan(every_frame=True))
        await healthy(api)
        await world.say(fresh(1, shade=120))
        await until(lambda: len(world.detections()) == 1)
        own_s3_server.kill()
        await world.tell(incident(1))
        away = await answered(api, 503)
        assert "is away" in away.json()["detail"]
        assert await blobs_health(api) == "degraded"
        own_s3_server.start()
        found = await answered(api, 200)
        assert await blobs_health(api) == "healthy"
    assert found.headers["content-type"] == JPEG
    assert abs(int(images.decode(found.content).mean()) - 120) <= 2
    assert not (tmp_path / "data" / "blobs").exists()


async def answered(api: httpx.AsyncClient, status: int) -> httpx.Response:
    """The snapshot's first answer of this status."""
    deadline = time.monotonic() + 90
    while (answer := await api.get("/api/v1/incidents/i1/snapshot")).status_code != status:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
    return answer


async def blobs_health(api: httpx.AsyncClient) -> str:
    report = (await api.get("/health")).json()
    return str(report["details"]["dependencies"]["blobs"]["status"])


async def refused(url: str, login: Login = LOGIN) -> str:
    with pytest.raises(Setup) as caught:
        async with open_s3(url, login):
            pass
    text = str(caught.value)
    assert text.startswith("VANTAGE_BLOB_URL=")
    assert "canary" not in text
    return text


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[S3Server]:
    """Speaks TLS."""
    with make_s3(tmp_path_factory.mktemp("tls"), tls=certificates) as server:
        yield server


async def test_over_tls(guarded: S3Server, certificates: Certificates) -> None:
    url = guarded.url("tls", ssl_ca_certs=str(certificates.ca))
    async with open_s3(url, LOGIN) as blobs:
        await blobs.put(KEY, b"1", JPEG)
        assert await blobs.get(KEY) == b"1"


async def test_another_authority_is_refused(guarded: S3Server, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    assert "by ssl_ca_certs" in await refused(guarded.url("tls", ssl_ca_certs=str(other.ca)))
    assert "by ssl_ca_certs" in await refused(guarded.url("tls"))


@pytest.mark.parametrize("login", [Login(ACCESS, "canary-wrong"), Login("canary-who", SECRET)])
async def test_wrong_keys_are_named_and_not_shown(s3_server: S3Server, login: Login) -> None:
    assert "VANTAGE_S3_SECRET_KEY" in await refused(s3_server.url(), login)


async def test_a_bucket_that_is_not_there(s3_server: S3Server) -> None:
    url = s3_server.url().replace("s3://vantage", "s3://elsewhere")
    assert "Create the bucket elsewhere" in await refused(url)


async def test_a_bucket_that_may_not_be_written(own_s3_server: S3Server) -> None:
    folder = own_s3_server.folder / "data" / own_s3_server.bucket / "kept"
    folder.write_text("where the prefix's folder should be")
    assert "ObjectParentIsFile" in await refused(own_s3_server.url("kept"))


async def test_no_store_there() -> None:
    url = f"s3://vantage/?endpoint=http://127.0.0.1:{processes.free_port()}&region=x"
    assert "Start it, or correct the endpoint" in await refused(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "no name of a bucket"),
        ("s3://Bucket", "no name of a bucket"),
        ("s3://key:canary-secret@bucket", "VANTAGE_S3_ACCESS_KEY"),
        ("s3://bucket?endpoint=http://key:canary-secret@127.0.0.1", "VANTAGE_S3_ACCESS_KEY"),
        ("s3://bucket/../other", "the prefix"),
        ("s3://bucket?endpoint=ftp://127.0.0.1", "https://host:port"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "https://host:port"),
        ("s3://bucket?endpoint=http://127.0.0.1:x", "[Pp]ort"),
        ("s3://bucket?verify=no", "unknown option 'verify'"),
        ("s3://bucket?endpoint=https://127.0.0.1&ssl_ca_certs=/nowhere", "no such file"),
    ],
)
async def test_a_wrong_url_is_named(url: str, said: str) -> None:
    text = await refused(url)
    assert re.search(said, text), text
