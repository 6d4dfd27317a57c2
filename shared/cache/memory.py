"""The cache of one process: a bounded dictionary with times of expiry."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.clock import Clock

MAX_ENTRIES = 10_000


@asynccontextmanager
async def open_memory(clock: Clock) -> AsyncIterator[MemoryCache]:
    """A cache that lives as long as the process."""
    yield MemoryCache(clock)


class _Entry(NamedTuple):
    value: bytes
    until: float  # of the monotonic clock


class MemoryCache:
    """A cache of at most `max_entries` keys; the one that was not touched for longest makes room."""

    def __init__(self, clock: Clock, *, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        entry = self._live(key)
        return None if entry is None else entry.value

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` for `ttl` seconds."""
        self._keep(key, _Entry(value, self._clock.monotonic() + ttl))

    async def incr(self, key: str, ttl: float) -> int:
        """Count one more and return the count; it starts anew `ttl` seconds after its first one."""
        entry = self._live(key)
        if entry is None:
            entry = _Entry(b"0", self._clock.monotonic() + ttl)
        count = int(entry.value) + 1
        self._keep(key, _Entry(b"%d" % count, entry.until))
        return count

    async def delete(self, key: str) -> bool:
        """Forget the key; says whether it was known."""
        known = self._live(key) is not None
        self._entries.pop(key, None)
        return known

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock.monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def _keep(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
