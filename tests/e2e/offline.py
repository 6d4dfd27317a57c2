"""What the same stage derives from the `detections` on a log when nothing runs: the replay that live must equal."""

import asyncio
from pathlib import Path

from schemas.events.incident_changes import IncidentOpened
from services.analyze.recompute import Counts, Part, recomputed
from services.orchestrator.service import remember
from shared.bus import sqlite as log_files
from shared.clock import SystemClock
from shared.db import sqlite as db_files


def derive(folder: Path) -> list[IncidentOpened]:
    """The incidents that follow from the log in a data folder whose server has ended, in the order of the log."""
    return asyncio.run(_derive(folder))


async def _derive(folder: Path) -> list[IncidentOpened]:
    url = f"sqlite+aiosqlite:///{folder / 'db'}"
    async with db_files.open_sqlite(
        url,
        service="orchestrator",
        clock=SystemClock(),
        migrations="services.orchestrator.migrations",
    ) as database:
        knowledge = await remember(database)
    async with log_files.open_sqlite(folder / "log") as log:
        return [
            one.event
            async for effects in recomputed(log, knowledge, Part(), Counts())
            for one in effects.incidents
            if isinstance(one.event, IncidentOpened)
        ]
