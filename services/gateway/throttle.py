"""Slows down guessing: attempts to sign in are counted per account and address, per account, and per address."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.errors import TooMany

if TYPE_CHECKING:
    from shared.cache.port import Cache

WINDOW_S = 60
LIMITS = {"both": 5, "account": 20, "address": 30}  # attempts within the window


class Throttle:
    """A delay, never a lock-out: after the window everybody may try again."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def attempt(self, account: str, address: str) -> None:
        """Count an attempt before it is made, so that parallel ones are counted too.

        Raises:
            TooMany: there were too many within the last minute.
        """
        counts = {
            kind: await self._cache.incr(key, WINDOW_S)
            for kind, key in _keys(account, address).items()
        }
        if any(count > LIMITS[kind] for kind, count in counts.items()):
            raise TooMany("too many attempts to sign in; wait a minute", retry_after=WINDOW_S)

    async def passed(self, account: str, address: str) -> None:
        """Forget the attempts on this account from this address."""
        await self._cache.delete(_keys(account, address)["both"])


def _keys(account: str, address: str) -> dict[str, str]:
    who = hashlib.sha256(account.lower().encode()).hexdigest()[:32]
    return {
        "both": f"throttle:both:{who}:{address}",
        "account": f"throttle:account:{who}",
        "address": f"throttle:address:{address}",
    }
