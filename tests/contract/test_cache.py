"""What every cache promises."""

import pytest

from shared.cache.memory import MemoryCache
from shared.cache.port import Cache
from shared.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> Cache:
    return MemoryCache(clock, max_entries=3)


async def test_a_value_lives_for_its_time(cache: Cache, clock: ManualClock) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"1", ttl=10)
    clock.advance(9.9)
    assert await cache.get("a") == b"1"
    clock.advance(0.1)
    assert await cache.get("a") is None


async def test_setting_again_replaces_value_and_time(cache: Cache, clock: ManualClock) -> None:
    await cache.set("a", b"1", ttl=1)
    await cache.set("a", b"2", ttl=10)
    clock.advance(5)
    assert await cache.get("a") == b"2"


async def test_counting_starts_anew_after_its_window(cache: Cache, clock: ManualClock) -> None:
    assert [await cache.incr("a", ttl=10) for _ in range(3)] == [1, 2, 3]
    clock.advance(9)
    assert await cache.incr("a", ttl=10) == 4  # further counts do not move the window
    clock.advance(1)
    assert await cache.incr("a", ttl=10) == 1


async def test_what_is_no_count_is_not_counted(cache: Cache) -> None:
    await cache.set("a", b"text", ttl=10)
    with pytest.raises(ValueError, match="text"):
        await cache.incr("a", ttl=10)


async def test_deleting(cache: Cache) -> None:
    await cache.set("a", b"1", ttl=10)
    assert await cache.delete("a")
    assert not await cache.delete("a")
    assert await cache.get("a") is None


async def test_it_is_bounded_and_the_untouched_make_room(cache: Cache) -> None:
    for key in "abc":
        await cache.set(key, key.encode(), ttl=10)
    await cache.get("a")
    await cache.set("d", b"d", ttl=10)
    assert [await cache.get(key) for key in "abcd"] == [b"a", None, b"c", b"d"]
