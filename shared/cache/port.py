"""The port of the cache: it speeds things up and counts, and is never the only place that knows something.

- A *value* may be forgotten at any time; so may a *count* (it starts anew) and a *lock* (two may then hold it, so it
  saves work and never guards what is stored).
- A *roll* is a list whose owner has it somewhere safe as well, such as the sessions that were revoked. It is read from
  here because that is quick, and it knows whether it is whole: a cache that was flushed, restarted on older data or
  made room answers None, never a wrong no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.errors import Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shared.service import Health

    ReadRoll = Callable[[], Awaitable[Mapping[str, float]]]
    """Gives all members of a roll with the seconds that they stay on it."""


class CacheUnavailable(Unavailable, Transient):
    """The cache is away or takes nothing now. Whoever asks decides what that means; it is never a yes."""

    code = "cache_unavailable"


class Cache(Protocol):
    """Bytes by key for a while; the oldest go first when it is full. Every method raises CacheUnavailable."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it was never set, has expired, or had to make room."""
        ...

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` for `ttl` seconds."""
        ...

    async def incr(self, key: str, ttl: float) -> int:
        """Count one more and return the count; it starts anew `ttl` seconds after its first one.

        Raises:
            ValueError: the key holds something else than a count.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Forget the key; says whether it was known."""
        ...

    async def lock(self, key: str, ttl: float) -> str | None:
        """Take the lock for `ttl` seconds: a token to give it back with, or None where another holds it."""
        ...

    async def unlock(self, key: str, token: str) -> bool:
        """Give the lock back; False where it was lost meanwhile, and perhaps is another's by now."""
        ...

    async def listed(self, roll: str, member: str) -> bool | None:
        """Whether `member` stands on the roll; None where it does not and the roll may not be whole."""
        ...

    async def enlist(self, roll: str, member: str, ttl: float) -> None:
        """Put `member` on the roll for `ttl` seconds. Its owner has stored it safely before."""
        ...

    async def restore(self, roll: str, read: ReadRoll, ttl: float) -> bool:
        """Make the roll whole for the next `ttl` seconds from what its owner has stored.

        Returns False where the cache lost something while `read` was under way: do it again.
        """
        ...

    async def check(self) -> Health:
        """Degraded while it is away: everybody who uses it has another way or answers 503."""
        ...
