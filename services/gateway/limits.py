"""How often a caller may call: counted for all gateways together, and by each alone while the cache is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.cache.port import CacheUnavailable
from shared.errors import TooMany

if TYPE_CHECKING:
    from shared.cache.port import Cache
    from shared.security.principal import Principal

WINDOW_S = 60


class CallLimit:
    """At most `calls` a minute by one person or program, whatever tokens they use; the local owner is not counted."""

    def __init__(self, shared: Cache, own: Cache, *, calls: int) -> None:
        self._shared = shared
        self._own = own
        self._calls = calls

    async def __call__(self, principal: Principal) -> None:
        """Count a call before it is served.

        Raises:
            TooMany: there were too many within this minute.
        """
        key = f"calls:{principal.kind}:{principal.subject}"
        try:
            count, limit = await self._shared.incr(key, WINDOW_S), self._calls
        except CacheUnavailable:  # several gateways alone must not allow more than all together
            count, limit = await self._own.incr(key, WINDOW_S), max(1, self._calls // 2)
        if count > limit:
            raise TooMany(
                f"more than {self._calls} calls a minute; wait, or ask less often",
                retry_after=WINDOW_S,
            )
