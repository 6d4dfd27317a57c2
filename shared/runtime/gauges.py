"""Figures that nobody tells: of the host, the databases, the consumers and the outboxes, for whoever scrapes."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import psutil

from shared.runtime.health import run_all

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shared.db.engine import Database
    from shared.db.relay import Relay
    from shared.metrics import Metrics
    from shared.runtime.consumers import Consumer
    from shared.runtime.health import Checks
    from shared.shelves import Samples

MEASURE_S = 10.0


class Gauges:
    """What is read at each scrape, and what a job brings up to date every ten seconds since it takes a query."""

    def __init__(
        self,
        metrics: Metrics,
        checks: Checks,
        *,
        folder: Path,
        consumers: Mapping[str, Consumer],
        relays: Mapping[str, Relay],
    ) -> None:
        self.databases: dict[str, Database] = {}
        self._metrics = metrics
        self._checks = checks
        self._folder = folder
        self._consumers = consumers
        self._relays = relays
        metrics.host_cpu.ask(_cpu)
        metrics.host_memory.ask(_memory)
        metrics.host_disk.ask(self._disk)
        metrics.pool_connections.ask(self._connections)
        metrics.pool_limit.ask(self._limits)
        metrics.bus_queue.ask(self._queues)
        metrics.bus_lag.ask(self._lags)
        metrics.bus_stuck.ask(self._stuck)
        metrics.bus_stopped.ask(self._stopped)

    async def keep(self) -> None:
        """Keep the gauges of health and outboxes fresh, until cancelled. A check that fails is a finding, no error."""
        while True:
            await self._checks.report()
            found = await run_all({name: relay.check for name, relay in self._relays.items()})
            for name, health in found.items():
                service = name.removesuffix(".relay")
                if "waiting" in health.details:  # else the database does not answer
                    self._metrics.outbox_waiting.labels(service).set(health.details["waiting"])
                    self._metrics.outbox_age.labels(service).set(health.details["oldest_s"])
            await asyncio.sleep(MEASURE_S)

    def _disk(self) -> Samples:
        usage = shutil.disk_usage(self._folder)
        return [(("total",), usage.total), (("free",), usage.free)]

    def _connections(self) -> Samples:
        for service, database in list(self.databases.items()):
            for pool, use in database.pools().items():
                yield (service, pool, "in_use"), use.in_use
                yield (service, pool, "idle"), use.idle

    def _limits(self) -> Samples:
        for service, database in list(self.databases.items()):
            for pool, use in database.pools().items():
                yield (service, pool), use.limit

    def _queues(self) -> Samples:
        depths = Counter[tuple[str, ...]]()
        for consumer in list(self._consumers.values()):
            for lane in consumer.lanes:
                depths[consumer.subscription.group, lane.partition.topic] += len(lane.queue)
        return depths.items()

    def _lags(self) -> Samples:
        lags = Counter[tuple[str, ...]]()
        for consumer in list(self._consumers.values()):
            for lane in consumer.lanes:
                topic, number = lane.partition.topic, str(lane.partition.number)
                lags[consumer.subscription.group, topic, number] += lane.lag
        return lags.items()

    def _stuck(self) -> Samples:
        return [((name,), float(one.stuck)) for name, one in list(self._consumers.items())]

    def _stopped(self) -> Samples:
        return [((name,), float(one.stopped)) for name, one in list(self._consumers.items())]


def _cpu() -> Samples:
    times = psutil.cpu_times()._asdict()  # what guests did is in `user` and `nice` already
    return [((mode,), spent) for mode, spent in times.items() if not mode.startswith("guest")]


def _memory() -> Samples:
    memory = psutil.virtual_memory()
    return [(("total",), memory.total), (("available",), memory.available)]
