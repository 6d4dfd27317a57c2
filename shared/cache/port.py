"""The port of the cache: it speeds things up and counts, and is never the only place that knows something."""

from __future__ import annotations

from typing import Protocol


class Cache(Protocol):
    """Bytes by key for a while; the oldest go first when it is full."""

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
