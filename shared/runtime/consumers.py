"""Subscriptions at work: an engine for each, made anew at every start, and watched for progress."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.bus.engine import Engine
    from shared.bus.lane import Lane
    from shared.supervisor import Supervisor

LOOK_S = 5.0


class Consumer:
    """One subscription's engine. An engine that ended is done for: the next start makes a new one."""

    def __init__(self, name: str, group: str, make: Callable[[], Engine]) -> None:
        self.name = name
        self.group = group
        self._make = make
        self._engine: Engine | None = None
        self._drained = asyncio.Event()

    async def run(self) -> None:
        """Consume until cancelled. What was drained does not end, or the supervisor would start it again."""
        if not self._drained.is_set():
            self._engine = self._make()
            await self._engine.run()
        if self._drained.is_set():
            await asyncio.Event().wait()

    async def drain(self, budget_s: float) -> None:
        """Finish what is in flight and commit it."""
        self._drained.set()
        if self._engine is not None:
            await self._engine.drain(budget_s)

    async def check(self) -> Health:
        """What the engine says of itself."""
        if self._engine is None:
            return Health(status="degraded", reason="starting")
        return self._engine.health()

    @property
    def caught_up(self) -> bool:
        """Whether a table has read to its end; true for other kinds once they run."""
        return self._engine is not None and self._engine.caught_up

    @property
    def lanes(self) -> list[Lane]:
        """The partitions in work; for the metrics, from any thread."""
        return [] if self._engine is None else list(self._engine.lanes)

    @property
    def stuck(self) -> bool:
        """Whether there is lag and no commit for too long."""
        return self._engine is not None and "stuck" in self._engine.health().details


async def watch(consumers: Mapping[str, Consumer], supervisor: Supervisor) -> None:
    """Restart consumers that make no progress, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for name, consumer in consumers.items():
            if consumer.stuck:
                supervisor.restart(name, "lag without a commit")
