"""The cache of one process: a bounded dictionary with times of expiry."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.cache.port import ReadRoll
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
        self._rolls: dict[str, dict[str, float]] = {}  # these make no room: they stay whole
        self._restored: set[str] = set()

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
        if not entry.value.isdigit():
            raise ValueError(f"{key} holds no count")
        count = int(entry.value) + 1
        self._keep(key, _Entry(b"%d" % count, entry.until))
        return count

    async def delete(self, key: str) -> bool:
        """Forget the key; says whether it was known."""
        known = self._live(key) is not None
        self._entries.pop(key, None)
        return known

    async def lock(self, key: str, ttl: float) -> str | None:
        """Take the lock for `ttl` seconds: a token to give it back with, or None where another holds it."""
        if self._live(key) is not None:
            return None
        token = uuid.uuid4().hex
        await self.set(key, token.encode(), ttl)
        return token

    async def unlock(self, key: str, token: str) -> bool:
        """Give the lock back; False where it was lost meanwhile, and perhaps is another's by now."""
        return await self.get(key) == token.encode() and await self.delete(key)

    async def listed(self, roll: str, member: str) -> bool | None:
        """Whether `member` stands on the roll. What this process knows is all there is, so it is whole."""
        return self._rolls.get(roll, {}).get(member, 0.0) > self._clock.monotonic()

    async def enlist(self, roll: str, member: str, ttl: float) -> None:
        """Put `member` on the roll for `ttl` seconds."""
        now = self._clock.monotonic()
        live = {one: until for one, until in self._rolls.get(roll, {}).items() if until > now}
        self._rolls[roll] = {**live, member: now + ttl}

    async def restore(self, roll: str, read: ReadRoll, ttl: float) -> bool:
        """Read the roll once: it lives as long as this process."""
        if roll not in self._restored:
            now, members = self._clock.monotonic(), await read()
            given = {member: now + seconds for member, seconds in members.items()}
            self._rolls[roll] = {**given, **self._rolls.get(roll, {})}
            self._restored.add(roll)
        return True

    async def check(self) -> Health:
        """Always well."""
        return Health(status="healthy")

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
