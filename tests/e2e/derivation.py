"""The same as `offline`, from any log and database by their URLs, and with tracks and gaps beside the incidents."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.cloudevents import decode
from schemas.event import Envelope
from schemas.events.incident_changes import IncidentOpened
from schemas.events.tracks_observed import TracksObserved
from schemas.topics import DETECTIONS
from services.orchestrator.service import remember
from services.orchestrator.stage import CameraStage
from shared.bus.kafka import open_kafka
from shared.bus.port import Offsets, Partition, Reader
from shared.bus.sqlite import open_sqlite
from shared.clock import SystemClock
from shared.rules.values import CoverageGap
from tests.engines import databases


class Derived(NamedTuple):
    """What follows from `detections` alone, in the order of the log."""

    incidents: list[IncidentOpened]
    tracks: set[str]
    gaps: list[CoverageGap]


def derived(*, log: str, db: str) -> Derived:
    """What follows from the log and the orchestrator's database at these URLs."""
    return asyncio.run(_derived(log, db))


def read(log: str) -> list[Sequence[Envelope]]:
    """Everything on `detections`, partition by partition, in order."""
    return list(asyncio.run(detections(log)).values())


async def _derived(log: str, db: str) -> Derived:
    async with databases.open_database(
        db,
        service="orchestrator",
        clock=SystemClock(),
        migrations="services.orchestrator.migrations",
    ) as database:
        knowledge = await remember(database)
    found = Derived([], set(), [])
    for events in (await detections(log)).values():
        stage = CameraStage(knowledge)
        for event in events:
            effects = stage.handle(event, now=0)
            found.gaps.extend(effects.gaps)
            for one in (*effects.incidents, *effects.fast):
                if isinstance(one.event, IncidentOpened):
                    found.incidents.append(one.event)
                elif isinstance(one.event, TracksObserved):
                    found.tracks.update(path.track for path in one.event.paths if path.points)
    return found


async def detections(url: str) -> Mapping[Partition, Sequence[Envelope]]:
    """Everything on `detections`, by partition, in order."""
    found: dict[Partition, list[Envelope]] = defaultdict(list)
    opens = (
        open_kafka(url)
        if url.startswith("kafka")
        else open_sqlite(Path(url.removeprefix("sqlite:///")))
    )
    async with opens as log:
        reader = await log.reader(
            [DETECTIONS], kind="table", group="offline", member="test", listener=_Nobody()
        )
        ends = await reader.ends()
        while await _behind(reader, ends):
            records = await reader.fetch(max_records=1000, timeout=0.5)
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


async def _behind(reader: Reader, ends: Offsets) -> bool:
    reached = await reader.positions()
    return any(reached.get(place, 0) < end for place, end in ends.items())


class _Nobody:
    """A listener that minds nothing."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        return None

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None
