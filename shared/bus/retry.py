"""Waiting before another try: exponential with full jitter, so that those who failed together do not return together."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from shared.errors import Transient

Found = TypeVar("Found")
log = structlog.get_logger(__name__)


class Backoff:
    """Waits of one thing that is tried again. `base` and `cap` in seconds."""

    def __init__(self, base: float, cap: float, random: random.Random) -> None:
        self._base = base
        self._cap = cap
        self._random = random
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait now: uniform between 0 and base x 2^tries, never above the cap.

        Full jitter as in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
        """
        ceiling = min(self._cap, self._base * 2 ** min(self._tries, 30))
        self._tries += 1
        return self._random.uniform(0, ceiling)

    def reset(self) -> None:
        """It worked: the next failure starts small again."""
        self._tries = 0


async def persist(call: Callable[[], Awaitable[Found]], backoff: Backoff, *, group: str) -> Found:
    """What `call` answers once the log is there."""
    while True:
        try:
            return await call()
        except Transient as error:
            log.warning("log_away", group=group, reason=str(error))
            await asyncio.sleep(backoff.next())
