"""The retention of the history: by age and by number of rows, whichever comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog

from services.vms.store.retention import BATCH, DECISIONS, HIGH_RATE, TRACKED, expire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table

    from services.vms.settings import VmsSettings
    from shared.clock import Clock
    from shared.db.engine import Database

_DAY_US = 86_400_000_000


class _Keep(NamedTuple):
    tables: Sequence[Table]
    days: float
    most: int


class Retention:
    """Removes what is old or too much, in small transactions that let everybody else in between."""

    def __init__(self, database: Database, clock: Clock, settings: VmsSettings) -> None:
        self._database = database
        self._clock = clock
        self._every_s = settings.retention_every_s
        self._keeps = (
            _Keep(HIGH_RATE, settings.keep_detections_days, settings.max_detections),
            _Keep(TRACKED, settings.keep_tracks_days, settings.max_tracks),
            _Keep(DECISIONS, settings.keep_incidents_days, settings.max_incidents),
        )
        self._log = structlog.get_logger().bind(service="vms", component="retention")

    async def run(self) -> None:
        """Look every so often, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> dict[str, int]:
        """Remove what is due now; returns how many rows went, by table."""
        gone = {}
        for keep in self._keeps:
            for table in keep.tables:
                gone[table.name] = await self._clear(table, keep)
        if any(gone.values()):
            self._log.info("history_expired", **gone)
        return gone

    async def _clear(self, table: Table, keep: _Keep) -> int:
        before = self._clock.now() - round(keep.days * _DAY_US)
        total = 0
        while True:
            async with self._database.transaction() as tx:
                gone = await expire(tx, table, before=before, most=keep.most)
            total += gone
            if gone < BATCH:
                return total
