"""What every cache promises."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from shared.cache.memory import MemoryCache
from shared.cache.port import Cache
from shared.cache.redis import open_redis
from shared.clock import ManualClock, SystemClock

if TYPE_CHECKING:
    from tests.engines.redis import RedisServer

LONG = 60.0
SHORT = 0.05


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    if request.param == "memory":
        yield MemoryCache(SystemClock())
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with open_redis(f"{server.url}?timeout=30&prefix={uuid.uuid4().hex}") as cache:
        yield cache


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what time brings."""
    deadline = time.monotonic() + 20
    while not await ask():
        assert time.monotonic() < deadline
        await asyncio.sleep(SHORT / 5)


async def test_a_value_lives_for_its_time(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"1", ttl=LONG)
    assert await cache.get("a") == b"1"
    await cache.set("b", b"1", ttl=SHORT)

    async def gone() -> bool:
        return await cache.get("b") is None

    await until(gone)
    assert await cache.get("a") == b"1"


async def test_setting_again_replaces_value_and_time(cache: Cache) -> None:
    await cache.set("a", b"1", ttl=LONG)
    await cache.set("a", b"2", ttl=SHORT)

    async def gone() -> bool:
        return await cache.get("a") is None

    await until(gone)
    await cache.set("a", b"\x00\xff", ttl=LONG)
    assert await cache.get("a") == b"\x00\xff"


async def test_counting_starts_anew_after_its_window(cache: Cache) -> None:
    assert [await cache.incr("a", ttl=LONG) for _ in range(3)] == [1, 2, 3]
    first = [await cache.incr("b", ttl=SHORT)]

    async def anew() -> bool:  # further counts do not move the window
        return await cache.incr("b", ttl=SHORT) == 1

    await until(anew)
    assert first == [1]
    assert await cache.incr("a", ttl=LONG) == 4


async def test_counting_at_the_same_time_loses_nothing(cache: Cache) -> None:
    counts = await asyncio.gather(*(cache.incr("a", ttl=LONG) for _ in range(200)))
    assert sorted(counts) == list(range(1, 201))


async def test_what_is_no_count_is_not_counted(cache: Cache) -> None:
    await cache.set("a", b"text", ttl=LONG)
    with pytest.raises(ValueError, match="no count"):
        await cache.incr("a", ttl=LONG)
    assert await cache.get("a") == b"text"


async def test_deleting(cache: Cache) -> None:
    await cache.set("a", b"1", ttl=LONG)
    assert await cache.delete("a")
    assert not await cache.delete("a")
    assert await cache.get("a") is None


async def test_one_holds_a_lock_and_gives_it_back(cache: Cache) -> None:
    taken = await asyncio.gather(*(cache.lock("a", ttl=LONG) for _ in range(20)))
    tokens = [token for token in taken if token is not None]
    assert len(tokens) == 1
    assert await cache.unlock("a", tokens[0])
    assert not await cache.unlock("a", tokens[0])
    assert await cache.lock("a", ttl=LONG) is not None


async def test_a_lock_that_was_lost_is_not_taken_from_who_has_it_now(cache: Cache) -> None:
    lost = await cache.lock("a", ttl=SHORT)
    assert lost is not None
    held: list[str] = []

    async def taken() -> bool:
        token = await cache.lock("a", ttl=LONG)
        held.extend([token] if token else [])
        return token is not None

    await until(taken)
    assert not await cache.unlock("a", lost)
    assert await cache.unlock("a", held[0])


async def nobody() -> dict[str, float]:
    return {}


async def test_a_roll_knows_who_is_on_it(cache: Cache) -> None:
    assert await cache.restore("r", nobody, ttl=LONG)
    await cache.enlist("r", "ann", ttl=LONG)
    assert await cache.listed("r", "ann") is True
    assert await cache.listed("r", "bob") is False
    assert not await cache.listed("other", "ann")


async def test_nobody_stays_on_a_roll_longer_than_said(cache: Cache) -> None:
    assert await cache.restore("r", nobody, ttl=LONG)
    await cache.enlist("r", "ann", ttl=SHORT)
    await cache.enlist("r", "bob", ttl=LONG)

    async def gone() -> bool:
        return await cache.listed("r", "ann") is False

    await until(gone)
    assert await cache.listed("r", "bob") is True


async def test_a_roll_is_restored_from_what_its_owner_has(cache: Cache) -> None:
    await cache.enlist("r", "ann", ttl=LONG)

    async def stored() -> dict[str, float]:
        await cache.enlist("r", "eve", ttl=LONG)  # while the owner reads
        return {"bob": LONG, **{f"member-{number}": LONG for number in range(3000)}}

    assert await cache.restore("r", stored, ttl=LONG)
    for name in ("ann", "bob", "eve", "member-2999"):
        assert await cache.listed("r", name) is True
    assert await cache.listed("r", "whole") is False


async def test_the_check_is_well(cache: Cache) -> None:
    assert (await cache.check()).status == "healthy"


class TestMemory:
    """What the cache of one process adds: a clock of ours, and a bound."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def bounded(self, clock: ManualClock) -> MemoryCache:
        return MemoryCache(clock, max_entries=3)

    async def test_times_are_exact(self, bounded: MemoryCache, clock: ManualClock) -> None:
        await bounded.set("a", b"1", ttl=10)
        assert await bounded.incr("b", ttl=10) == 1
        clock.advance(9.9)
        assert (await bounded.get("a"), await bounded.incr("b", ttl=10)) == (b"1", 2)
        clock.advance(0.1)
        assert (await bounded.get("a"), await bounded.incr("b", ttl=10)) == (None, 1)

    async def test_it_is_bounded_and_the_untouched_make_room(self, bounded: MemoryCache) -> None:
        await bounded.enlist("r", "ann", ttl=10)
        for key in "abc":
            await bounded.set(key, key.encode(), ttl=10)
        await bounded.get("a")
        await bounded.set("d", b"d", ttl=10)
        assert [await bounded.get(key) for key in "abcd"] == [b"a", None, b"c", b"d"]
        assert await bounded.listed("r", "ann") is True
