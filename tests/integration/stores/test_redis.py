"""Redis taken away, emptied, frozen and refusing; and nobody ever reads another's answer."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from shared.cache.port import CacheUnavailable
from shared.cache.redis import CONNECTIONS, RedisCache, open_redis
from shared.errors import Setup
from tests.chaos.proxy import FaultProxy
from tests.engines import processes
from tests.engines.certificates import Certificates, make_certificates
from tests.engines.folders import ROOT
from tests.engines.redis import RedisServer, make_redis

QUIET = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("no_garbage"), QUIET]

PASSWORD, LONG = "canary-redis-77", 60.0
PATIENT = "?timeout=30"  # a busy machine is slow, not wrong


@pytest.fixture
async def own_cache(own_redis_server: RedisServer) -> AsyncIterator[RedisCache]:
    async with open_redis(own_redis_server.url + PATIENT) as cache:
        yield cache


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 30
    while not await ask():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def until_back(cache: RedisCache) -> None:
    async def well() -> bool:
        return (await cache.check()).status == "healthy"

    await until(well)


async def nobody() -> dict[str, float]:
    return {}


@pytest.mark.row("R15")
async def test_killed_it_is_unavailable_and_comes_back_with_what_it_knew(
    own_redis_server: RedisServer, own_cache: RedisCache
) -> None:
    await own_cache.set("a", b"kept", ttl=LONG)
    asked = [asyncio.create_task(own_cache.get("a")) for _ in range(300)]
    await asyncio.sleep(0)
    own_redis_server.kill()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(each == b"kept" or isinstance(each, CacheUnavailable) for each in answers)
    for _ in range(2):
        with pytest.raises(CacheUnavailable, match=f"127.0.0.1:{own_redis_server.port} is away"):
            await own_cache.get("a")
    health = await own_cache.check()
    assert (health.status, "is away" in health.reason) == ("degraded", True)
    own_redis_server.start()
    await until_back(own_cache)
    assert await own_cache.get("a") == b"kept"
    assert await own_cache.incr("scripts-are-loaded-again", ttl=LONG) == 1


@pytest.mark.row("R15")
async def test_a_black_hole_costs_one_timeout_and_not_one_a_command(
    own_redis_server: RedisServer,
) -> None:
    async with open_redis(f"{own_redis_server.url}?timeout=2") as cache:
        own_redis_server.freeze()
        try:
            async with asyncio.timeout(60):  # a timeout each would be 2000 s
                for _ in range(1000):
                    with pytest.raises(CacheUnavailable):
                        await cache.get("a")
            assert (await cache.check()).status == "degraded"
        finally:
            own_redis_server.thaw()
        await until_back(cache)


async def test_full_it_is_degraded_and_a_roll_proves_nothing_more(
    own_redis_server: RedisServer, own_cache: RedisCache
) -> None:
    assert await own_cache.restore("r", nobody, ttl=LONG)
    await own_cache.set("a", b"1", ttl=LONG)
    own_redis_server.order("CONFIG SET maxmemory 1")
    with pytest.raises(CacheUnavailable, match="maxmemory"):
        await own_cache.enlist("r", "ann", ttl=LONG)
    assert await own_cache.get("a") == b"1"
    assert await own_cache.listed("r", "ann") is None
    health = await own_cache.check()
    assert (health.status, "maxmemory" in health.reason) == ("degraded", True)
    own_redis_server.order("CONFIG SET maxmemory 0")
    assert (await own_cache.check()).status == "healthy"


async def test_a_full_server_is_refused_at_the_start(tmp_path: Path) -> None:
    # Less than an empty server takes.
    full = ["--maxmemory", "512kb", "--maxmemory-policy", "noeviction"]
    with make_redis(tmp_path / "redis", options=full) as server:
        assert "maxmemory" in await refused(server.url)


class TestRolls:
    """A roll that lost something never answers no."""

    async def test_emptied_it_cannot_tell_until_it_is_restored(
        self, own_redis_server: RedisServer, own_cache: RedisCache
    ) -> None:
        async def stored() -> dict[str, float]:
            return {"ann": LONG}

        assert await own_cache.listed("r", "bob") is None
        assert await own_cache.restore("r", stored, ttl=LONG)
        assert await own_cache.listed("r", "bob") is False
        own_redis_server.forget()
        assert await own_cache.listed("r", "ann") is None
        await own_cache.enlist("r", "bob", ttl=LONG)
        assert await own_cache.listed("r", "bob") is True
        assert await own_cache.listed("r", "ann") is None
        assert await own_cache.restore("r", stored, ttl=LONG)
        assert await own_cache.listed("r", "ann") is True
        assert await own_cache.listed("r", "eve") is False

    async def test_emptied_while_its_owner_reads_it_stays_unsure(
        self, own_redis_server: RedisServer, own_cache: RedisCache
    ) -> None:
        async def stored() -> dict[str, float]:
            await own_cache.enlist("r", "ann", ttl=LONG)  # too late to be read
            await asyncio.to_thread(own_redis_server.forget)
            return {}

        assert not await own_cache.restore("r", stored, ttl=LONG)
        assert await own_cache.listed("r", "ann") is None

    async def test_unattended_it_soon_proves_nothing(self, own_cache: RedisCache) -> None:
        assert await own_cache.restore("r", nobody, ttl=0.05)
        await own_cache.enlist("r", "ann", ttl=LONG)

        async def unsure() -> bool:
            return await own_cache.listed("r", "bob") is None

        await until(unsure)
        assert await own_cache.listed("r", "ann") is True

    async def test_after_a_restart_on_older_data_it_cannot_tell(self, tmp_path: Path) -> None:
        with make_redis(tmp_path / "redis", options=["--appendonly", "no"]) as server:
            async with open_redis(server.url + PATIENT) as cache:
                assert await cache.restore("r", nobody, ttl=LONG)
                server.save()
                await cache.enlist("r", "ann", ttl=LONG)
                server.kill()
                server.start()
                await until_gone_and_back(cache)
                assert await cache.listed("r", "ann") is None
                assert await cache.restore("r", nobody, ttl=LONG)
                assert await cache.listed("r", "ann") is False

    async def test_what_makes_room_takes_the_whole_roll(self, tmp_path: Path) -> None:
        policy = ["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random"]
        with make_redis(tmp_path / "redis", options=policy) as server:
            async with open_redis(server.url + PATIENT) as cache:
                assert await cache.restore("r", nobody, ttl=LONG)
                for number in range(20):
                    await cache.enlist("r", f"member-{number}", ttl=LONG)
                for number in range(20_000):
                    await cache.set(f"filler-{number}", bytes(5000), ttl=LONG)
                    if (found := await cache.listed("r", "member-7")) is None:
                        break
                    assert found is True
                assert await cache.listed("r", "member-8") is None


async def until_gone_and_back(cache: RedisCache) -> None:
    """Right after a restart the first command may still meet the old connection."""

    async def answers() -> bool:
        try:
            await cache.get("a")
        except CacheUnavailable:
            return False
        return True

    await until(answers)


@pytest.mark.row("R16", inside=True)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(1, 20))]
)
async def test_cancelled_commands_cross_no_answers_and_leak_no_connection(
    redis_server: RedisServer, seed: int
) -> None:
    with FaultProxy("127.0.0.1", redis_server.port) as link:
        link.set(latency_s=0.1)
        async with open_redis(f"redis://{link.address}?timeout=30&prefix=r16-{seed}") as cache:
            await cancel_some(cache, redis_server, random.Random(seed))


async def cancel_some(cache: RedisCache, redis_server: RedisServer, chance: random.Random) -> None:
    before = await asyncio.to_thread(redis_server.connections)
    await asyncio.gather(*(put(cache, number) for number in range(500)))
    tasks = [asyncio.create_task(cache.get(f"k{number}")) for number in range(500)]
    doomed = chance.sample(tasks, 150)
    for task in doomed:
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    crossed = [
        number
        for number, answer in enumerate(answers)
        if answer != nonce(number) and not isinstance(answer, asyncio.CancelledError)
    ]
    assert crossed == []
    cancelled = sum(isinstance(answer, asyncio.CancelledError) for answer in answers)
    assert 0 < cancelled <= 150
    again = await asyncio.gather(*(cache.get(f"k{number}") for number in range(500)))
    assert again == [nonce(number) for number in range(500)]
    after = await asyncio.to_thread(redis_server.connections)
    assert after - before <= CONNECTIONS


def nonce(number: int) -> bytes:
    return f"nonce-{number}".encode()


async def put(cache: RedisCache, number: int) -> None:
    await cache.set(f"k{number}", nonce(number), ttl=LONG)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RedisServer]:
    """Speaks TLS, wants a client certificate and a password."""
    with make_redis(tmp_path_factory.mktemp("tls"), password=PASSWORD, tls=certificates) as server:
        yield server


def with_client(server: RedisServer, certificates: Certificates, **options: object) -> str:
    given = {
        "ssl_ca_certs": certificates.ca,
        "ssl_certfile": certificates.client.cert,
        "ssl_keyfile": certificates.client.key,
        **options,
    }
    given.setdefault("timeout", 30)
    query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
    return f"{server.url}?{query}"


async def test_over_tls_with_a_client_certificate(
    guarded: RedisServer, certificates: Certificates
) -> None:
    async with open_redis(with_client(guarded, certificates)) as cache:
        await cache.set("a", b"1", ttl=LONG)
        assert await cache.get("a") == b"1"


async def refused(url: str) -> str:
    with pytest.raises(Setup) as caught:
        async with open_redis(url):
            pass
    text = str(caught.value)
    assert text.startswith("VANTAGE_CACHE_URL=")
    assert "canary" not in text
    return text


async def test_another_authority_is_refused(
    guarded: RedisServer, certificates: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    said = await refused(with_client(guarded, certificates, ssl_ca_certs=other.ca))
    assert "ssl_ca_certs" in said


async def test_without_any_authority_the_servers_certificate_is_not_believed(
    guarded: RedisServer, certificates: Certificates
) -> None:
    assert "ssl_ca_certs" in await refused(with_client(guarded, certificates, ssl_ca_certs=None))


async def test_without_a_client_certificate_nobody_gets_in(
    guarded: RedisServer, certificates: Certificates
) -> None:
    said = await refused(with_client(guarded, certificates, ssl_certfile=None, ssl_keyfile=None))
    assert "ssl_certfile" in said


async def test_plain_where_the_server_speaks_tls(guarded: RedisServer) -> None:
    said = await refused(guarded.url.replace("rediss", "redis"))
    assert "rediss://" in said


async def test_tls_where_the_server_speaks_plain(redis_server: RedisServer) -> None:
    said = await refused(redis_server.url.replace("redis", "rediss") + "?timeout=0.5")
    assert "write redis://" in said


@pytest.mark.parametrize("login", ["", ":canary-wrong@", "eve:canary-wrong@"])
async def test_a_wrong_password_is_named_and_not_shown(
    guarded: RedisServer, certificates: Certificates, login: str
) -> None:
    url = with_client(guarded, certificates).replace(f":{PASSWORD}@", login)
    assert "user or password" in await refused(url)


async def test_no_server_there() -> None:
    said = await refused(f"redis://:canary@127.0.0.1:{processes.free_port()}")
    assert "Start it" in said


async def test_another_kind_of_server_there() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert re.search(
            "another kind of server|correct the port", await refused(f"redis://127.0.0.1:{port}")
        )


async def test_a_user_who_may_not_do_what_we_need(own_redis_server: RedisServer) -> None:
    own_redis_server.order("ACL SETUSER bob on >canary ~* +ping +get +set")
    said = await refused(own_redis_server.url.replace("//", "//bob:canary@"))
    assert re.search("Allow this user|user or password", said)


async def test_the_rights_that_the_document_names_are_enough(own_redis_server: RedisServer) -> None:
    text = (ROOT / "docs" / "stores.md").read_text()
    named = re.search(r"at least `([^`]+)`", text)
    assert named
    rights = " ".join(f"+{command}" for command in named[1].split())
    own_redis_server.order(f"ACL SETUSER bob on >canary ~vantage:* {rights}")
    url = own_redis_server.url.replace("//", "//bob:canary@")
    async with open_redis(url + PATIENT) as cache:
        await cache.set("a", b"1", ttl=LONG)
        assert await cache.get("a") == b"1"
        assert await cache.delete("a")
        assert await cache.incr("b", ttl=LONG) == 1
        token = await cache.lock("c", ttl=LONG)
        assert token
        assert await cache.unlock("c", token)
        assert await cache.restore("r", nobody, ttl=LONG)
        await cache.enlist("r", "ann", ttl=LONG)
        assert await cache.listed("r", "ann")
        assert (await cache.check()).status == "healthy"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", "the host is missing"),
        ("redis://127.0.0.1:port", "port is no number"),
        ("redis://:canary/x@127.0.0.1", "not encoded"),
        ("redis://user:6/canary@127.0.0.1", "a number such as 0"),
        ("redis://127.0.0.1:6379/first", "a number such as 0"),
        ("redis://127.0.0.1?tls=yes", "unknown option 'tls'"),
        ("redis://127.0.0.1?ssl_ca_certs=/x", "rediss://"),
        ("rediss://127.0.0.1?ssl_ca_certs=/nowhere.pem", "no such file"),
        ("rediss://127.0.0.1?ssl_cert_reqs=none", "unknown option 'ssl_cert_reqs'"),
        ("rediss://127.0.0.1?ssl_certfile=/etc/hosts", "go together"),
        ("rediss://127.0.0.1?ssl_check_hostname=perhaps", "true or false"),
        ("redis://:canary@127.0.0.1?timeout=0", "0.05 to 30"),
        ("redis://:canary@127.0.0.1?timeout=soon", "0.05 to 30"),
        ("redis://:canary@127.0.0.1?prefix=a:b", "prefix"),
        ("redis://127.0.0.1/99999", "database that exists"),
    ],
)
async def test_a_wrong_url_is_named(url: str, said: str, redis_server: RedisServer) -> None:
    text = await refused(url.replace("127.0.0.1/", f"127.0.0.1:{redis_server.port}/"))
    assert re.search(said, text), text
