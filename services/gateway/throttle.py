"""Slows down guessing: attempts to sign in are counted per account and address, per account, and per address."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.cache.port import CacheUnavailable
from shared.errors import TooMany

if TYPE_CHECKING:
    from shared.cache.port import Cache

WINDOW_S = 60
LIMITS = {"both": 5, "account": 20, "address": 30}  # attempts within the window
ALONE = {"both": 2, "account": 8, "address": 12}
"""While gateways cannot count together: each allows less, so that several do not allow more than one did."""


class Throttle:
    """A delay, never a lock-out: after the window everybody may try again.

    `shared` counts for all gateways; `own` counts here as well, so that a cache that is away or was emptied does not
    start anybody's count anew.
    """

    def __init__(self, shared: Cache, own: Cache) -> None:
        self._shared = shared
        self._own = own

    async def attempt(self, account: str, address: str) -> None:
        """Count an attempt before it is made, so that parallel ones are counted too.

        Raises:
            TooMany: there were too many within the last minute.
        """
        keys = _keys(account, address)
        here = await _counted(self._own, keys)
        try:
            together, limits = await _counted(self._shared, keys), LIMITS
        except CacheUnavailable:
            together, limits = here, ALONE
        if any(max(here[kind], together[kind]) > limits[kind] for kind in keys):
            raise TooMany("too many attempts to sign in; wait a minute", retry_after=WINDOW_S)

    async def passed(self, account: str, address: str) -> None:
        """Forget the attempts on this account from this address."""
        key = _keys(account, address)["both"]
        await self._own.delete(key)
        try:
            await self._shared.delete(key)
        except CacheUnavailable:
            return  # what stays counted only makes the next minute slower


async def _counted(cache: Cache, keys: dict[str, str]) -> dict[str, int]:
    return {kind: await cache.incr(key, WINDOW_S) for kind, key in keys.items()}


def _keys(account: str, address: str) -> dict[str, str]:
    who = hashlib.sha256(account.lower().encode()).hexdigest()[:32]
    return {
        "both": f"throttle:both:{who}:{address}",
        "account": f"throttle:account:{who}",
        "address": f"throttle:address:{address}",
    }
