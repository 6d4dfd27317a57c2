"""What was revoked before its time: sessions, remembered for as long as their tokens can live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.security.tokens import LIFETIME

if TYPE_CHECKING:
    from shared.cache.port import Cache
    from shared.clock import Clock
    from shared.security.principal import Principal

REMEMBERED_S = LIFETIME + 60


class Revocations:
    """Known to this process and, through the cache, to all others. A cache that fails is an error, never a yes."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._here: dict[
            str, float
        ] = {}  # the cache may make room, so it must not be alone to know

    async def revoke(self, session: str) -> None:
        """Refuse every token of a session from now on."""
        now = self._clock.monotonic()
        self._here = {one: until for one, until in self._here.items() if until > now}
        self._here[session] = now + REMEMBERED_S
        await self._cache.set(f"revoked:{session}", b"1", ttl=REMEMBERED_S)

    async def revoked(self, principal: Principal) -> bool:
        """Whether the token that said so is revoked."""
        session = principal.session
        if session is None:
            return False
        return session in self._here or await self._cache.get(f"revoked:{session}") is not None
