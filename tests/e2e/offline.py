"""What the same stage derives from the `detections` on a log when nothing runs: the replay that live must equal."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.cloudevents import decode
from schemas.event import Envelope
from schemas.events.incident_changes import IncidentOpened
from schemas.topics import DETECTIONS
from services.orchestrator.service import remember
from services.orchestrator.stage import CameraStage
from shared.bus import sqlite as log_files
from shared.bus.port import Partition
from shared.clock import SystemClock
from shared.db import sqlite as db_files


def derive(folder: Path) -> list[IncidentOpened]:
    """The incidents that follow from the log in a data folder whose server has ended, in the order of the log."""
    return asyncio.run(_derive(folder))


async def _derive(folder: Path) -> list[IncidentOpened]:
    clock = SystemClock()
    url = f"sqlite+aiosqlite:///{folder / 'db'}"
    async with db_files.open_sqlite(
        url,
        service="orchestrator",
        clock=clock,
        migrations="services.orchestrator.migrations",
    ) as database:
        knowledge = await remember(database)
    found: list[IncidentOpened] = []
    for events in (await detections(folder / "log")).values():
        stage = CameraStage(knowledge)
        for event in events:
            said = stage.handle(event, now=0).incidents
            found += [one.event for one in said if isinstance(one.event, IncidentOpened)]
    return found


async def detections(folder: Path) -> Mapping[Partition, Sequence[Envelope]]:
    """Everything on `detections`, by partition, in order."""
    found: dict[Partition, list[Envelope]] = defaultdict(list)
    async with log_files.open_sqlite(folder) as log:
        reader = await log.reader(
            [DETECTIONS], kind="table", group="offline", member="test", listener=_Nobody()
        )
        while records := await reader.fetch(max_records=1000, timeout=0.5):
            for partition, batch in records.items():
                for one in batch:
                    found[partition].append(
                        decode(
                            DETECTIONS.name,
                            one.key or "",
                            one.headers,
                            one.value,
                            partition=partition.number,
                            offset=one.offset,
                        )
                    )
        await reader.close()
    return found


class _Nobody:
    """A listener that minds nothing."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        return None

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None
