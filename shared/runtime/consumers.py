"""Subscriptions at work: an engine for each, made anew at every start, watched for progress, and in a person's hand."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from shared.errors import Conflict
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from shared.bus.engine import Engine
    from shared.bus.lane import Lane
    from shared.bus.port import Subscription
    from shared.clock import Clock
    from shared.supervisor import Supervisor

LOOK_S = 5.0
OFTEN = 3  # restarts by the watchdog ...
OFTEN_S = 1800.0  # ... within this time: it does not help, a person must look
HOLD_S = 8.0  # for finishing what is in work before a person's hand


class Consumer:
    """One subscription's engine. An engine that ended is done for: the next start makes a new one."""

    def __init__(
        self, name: str, subscription: Subscription, make: Callable[[], Engine], clock: Clock
    ) -> None:
        self.name = name
        self.subscription = subscription
        self._make = make
        self._clock = clock
        self._engine: Engine | None = None
        self._drained = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._turn = 0  # moves when a person holds it
        self._restarts: deque[float] = deque(maxlen=OFTEN)

    async def run(self) -> None:
        """Consume until cancelled. What was drained does not end, or the supervisor would start it again."""
        while not self._drained.is_set():
            while not self._free.is_set():  # it may be in the next hand before we wake up
                await self._free.wait()
            turn = self._turn
            self._engine = self._make()
            await self._engine.run()
            if turn == self._turn and not self._drained.is_set():
                return
        await asyncio.Event().wait()

    async def drain(self, budget_s: float) -> None:
        """Finish what is in flight and commit it."""
        self._drained.set()
        if self._engine is not None:
            await self._engine.drain(budget_s)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """No engine of ours runs within this block; a new one begins after it.

        Raises:
            Conflict: somebody holds it already.
        """
        if not self._free.is_set():
            raise Conflict(f"the consumer {self.name} is in another's hand; ask again in a moment")
        self._free.clear()
        self._turn += 1
        try:
            if self._engine is not None:
                await self._engine.drain(HOLD_S)
            yield
        finally:
            self._restarts.clear()
            self._free.set()

    async def check(self) -> Health:
        """What the engine says of itself, and whether the watchdog had to start it again and again."""
        health = self._health()
        since = self._clock.monotonic() - OFTEN_S
        recent = sum(1 for at in self._restarts if at >= since)
        if health.status == "unhealthy" or recent < OFTEN:
            return health
        reason = (
            f"started again {recent} times in {OFTEN_S / 60:g} minutes, since it made no progress; "
            f"look at the log, then `vantage consumers resume {self.name}`"
        )
        return Health(status="degraded", reason=reason, details=health.details)

    async def shown(self) -> dict[str, Any]:
        """What a person wants to know."""
        health = await self.check()
        lag = health.details.get("lag", {})
        return {
            "name": self.name,
            "group": self.subscription.group,
            "kind": self.subscription.kind,
            "topics": [topic.name for topic in self.subscription.topics],
            "stateful": self.subscription.positions is not None,
            "status": health.status,
            "reason": health.reason,
            "stopped": self.stopped,
            "lag": sum(lag.values()),
        }

    @property
    def caught_up(self) -> bool:
        """Whether a table has read to its end; true for other kinds once they run."""
        return self._engine is not None and self._engine.caught_up

    @property
    def lanes(self) -> list[Lane]:
        """The partitions in work; for the metrics, from any thread."""
        return [] if self._engine is None else list(self._engine.lanes)

    @property
    def stopped(self) -> bool:
        """Whether too many dead letters stopped it: it waits for a person."""
        return "tripped" in self._health().details

    @property
    def stuck(self) -> bool:
        """Whether there is lag and no commit for too long."""
        return "stuck" in self._health().details

    def restarted(self) -> None:
        """The watchdog starts it again."""
        self._restarts.append(self._clock.monotonic())

    def _health(self) -> Health:
        if self._engine is None:
            return Health(status="degraded", reason="starting")
        return self._engine.health()


async def watch(consumers: Mapping[str, Consumer], supervisor: Supervisor) -> None:
    """Restart consumers that make no progress, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for name, consumer in consumers.items():
            if consumer.stuck:
                consumer.restarted()
                supervisor.restart(name, "lag without a commit")
