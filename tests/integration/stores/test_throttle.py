"""Gateways that share a Redis count attempts to sign in together; each alone while it is away, and more strictly."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from services.gateway.throttle import ALONE, LIMITS
from shared.clock import SystemClock
from shared.security.guard import ACCESS_COOKIE
from tests.engines.redis import RedisServer
from tests.unit.gateway.conftest import PASSWORD, gateway
from tests.unit.platform import toys

pytestmark = pytest.mark.redis

BOTH = LIMITS["both"]


@pytest.fixture
async def doors(
    tmp_path: Path, own_redis_server: RedisServer
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Browsers before two gateways, each with a folder of its own."""
    async with AsyncExitStack() as stack:
        clients = []
        for name in ("one", "two"):
            app = gateway(
                tmp_path / name,
                SystemClock(),
                admin_password=PASSWORD,
                cache_url=f"{own_redis_server.url}?timeout=30",
            )
            await stack.enter_async_context(toys.lifespan(app))
            clients.append(await stack.enter_async_context(toys.caller(app)))
        yield clients


async def token_of(door: httpx.AsyncClient) -> str:
    assert await guess(door, PASSWORD) == 201
    token = str(door.cookies[ACCESS_COOKIE])
    door.cookies.clear()
    return token


async def calls(door: httpx.AsyncClient, token: str, number: int) -> list[int]:
    headers = {"authorization": f"Bearer {token}"}
    return [(await door.get("/toy/read", headers=headers)).status_code for _ in range(number)]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTAGE_GATEWAY_CALLS_A_MINUTE", "6")


@pytest.mark.usefixtures("limited")
async def test_calls_are_limited_over_both_gateways_and_the_answer_says_when_to_come_back(
    doors: list[httpx.AsyncClient], own_redis_server: RedisServer
) -> None:
    one, two = doors
    tokens = [await token_of(door) for door in (one, two)]
    assert await calls(one, tokens[0], 7) == [200] * 6 + [429]
    headers = {"authorization": f"Bearer {tokens[0]}"}
    refused = await one.get("/toy/read", headers=headers)
    assert refused.headers["retry-after"] == "60"
    assert (await one.get("/toy")).status_code == 200  # what is public is not counted
    own_redis_server.kill()
    assert await calls(two, tokens[1], 4) == [200] * 3 + [429]


async def guess(door: httpx.AsyncClient, password: str = "wrong guess") -> int:
    body = {"name": "admin", "password": password}
    return (await door.post("/api/v1/sessions", json=body)).status_code


async def test_changing_the_gateway_gains_no_guess(doors: list[httpx.AsyncClient]) -> None:
    statuses = [await guess(doors[number % 2]) for number in range(BOTH)]
    assert statuses == [401] * BOTH
    assert [await guess(door, PASSWORD) for door in doors] == [429, 429]


async def test_signing_in_forgets_the_attempts_at_both(doors: list[httpx.AsyncClient]) -> None:
    for number in range(BOTH - 1):
        assert await guess(doors[number % 2]) == 401
    assert await guess(doors[0], PASSWORD) == 201
    assert await guess(doors[1], PASSWORD) == 201


async def test_emptying_redis_starts_nobodys_count_anew(
    doors: list[httpx.AsyncClient], own_redis_server: RedisServer
) -> None:
    assert [await guess(doors[0]) for _ in range(BOTH)] == [401] * BOTH
    own_redis_server.forget()
    assert await guess(doors[0]) == 429


async def test_without_redis_each_is_stricter_and_never_open(
    doors: list[httpx.AsyncClient], own_redis_server: RedisServer
) -> None:
    own_redis_server.kill()
    alone = ALONE["both"]
    for door in doors:
        assert [await guess(door) for _ in range(alone + 1)] == [401] * alone + [429]
        assert await guess(door, PASSWORD) == 429
    assert alone * len(doors) <= BOTH
