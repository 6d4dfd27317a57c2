"""Keeps long-running work alive: starts it again with backoff, and turns health red when it crashes in a loop.

Work that ends because something it depends on is away does not crash: the dependency has a check of its own.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from shared.errors import Transient, Unavailable
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import Counter

    from shared.clock import Clock

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
ENDING_S = 30.0  # in which work that was told to end may clean up
LOOP_ENDS = 5  # so many ends ...
LOOP_S = 120.0  # ... within this time are a crash loop


@dataclass
class _Work:
    name: str
    run: Callable[[], Awaitable[None]]
    task: asyncio.Task[None] | None = None
    current: asyncio.Task[None] | None = None
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=LOOP_ENDS))
    crashes: deque[float] = field(default_factory=lambda: deque(maxlen=LOOP_ENDS))
    reason: str = ""
    told: float = -math.inf  # when it was told to end
    waits: bool = False  # its last end: something was away


class Supervisor:
    """Runs named work until it is stopped. Work that returns or raises is started again."""

    def __init__(self, clock: Clock, restarts: Counter) -> None:
        self._clock = clock
        self._restarts = restarts
        self._works: dict[str, _Work] = {}
        self._log = structlog.get_logger().bind(component="supervisor")

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run this under a name that is not taken yet."""
        if name in self._works:
            raise ValueError(f"work {name!r} runs already")
        work = _Work(name, run)
        self._works[name] = work
        work.task = asyncio.create_task(self._keep(work), name=f"keep {name}")

    def restart(self, name: str, reason: str) -> None:
        """End this work now; it is started again as after a failure.

        Asked again while it ends, it is left to end: a second cancellation would cut its cleaning up short.
        """
        work, now = self._works[name], self._clock.monotonic()
        if work.current is None or now < work.told + ENDING_S:
            return
        work.reason, work.told = reason, now
        work.current.cancel()

    async def stop(self, *, patience: float = 5.0) -> None:
        """End all work; what has not ended after `patience` seconds is left behind and named in the log."""
        tasks = [work.task for work in self._works.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _done, pending = await asyncio.wait(tasks, timeout=patience)
            for task in pending:
                self._log.error("work_does_not_end", name=task.get_name())
        self._works.clear()

    async def check(self) -> Health:
        """Red while any work crashes in a loop; names it."""
        looping = {work.name: work.reason for work in self._works.values() if self._loops(work)}
        if looping:
            names = ", ".join(sorted(looping))
            return Health(status="unhealthy", reason=f"crash loop: {names}", details=looping)
        return Health(status="healthy", details={"running": len(self._works)})

    async def _keep(self, work: _Work) -> None:
        while True:
            work.reason = await self._once(work)
            work.ends.append(self._clock.monotonic())
            if not work.waits:
                work.crashes.append(work.ends[-1])
            self._restarts.labels(work.name).inc()
            wait = _backoff(self._recent(work.ends))
            self._log.error(
                "work_ended", name=work.name, reason=work.reason, again_in_s=round(wait, 1)
            )
            await asyncio.sleep(wait)

    async def _once(self, work: _Work) -> str:
        """Run it to its end; answers why it ended."""
        work.reason, work.waits, work.told = "", False, -math.inf
        work.current = asyncio.ensure_future(_awaited(work.run))
        try:
            await asyncio.wait([work.current])
        except asyncio.CancelledError:
            work.current.cancel()
            await asyncio.wait([work.current])
            raise
        if work.current.cancelled():
            return work.reason or "cancelled"
        error = work.current.exception()
        if error is None:
            return work.reason or "it returned"
        work.waits = isinstance(error, Transient | Unavailable)
        if not work.waits:
            self._log.error("work_failed", name=work.name, exc_info=error)
        return f"{type(error).__name__}: {error}"

    def _recent(self, ends: deque[float]) -> int:
        since = self._clock.monotonic() - LOOP_S
        return sum(1 for end in ends if end >= since)

    def _loops(self, work: _Work) -> bool:
        return self._recent(work.crashes) >= LOOP_ENDS


async def _awaited(run: Callable[[], Awaitable[None]]) -> None:
    await run()


def _backoff(ends: int) -> float:
    """Seconds to wait after so many recent ends: half fixed, half jitter, doubling."""
    cap: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** max(0, ends - 1))
    return cap / 2 + random.uniform(0, cap / 2)  # noqa: S311 - jitter, no secret
