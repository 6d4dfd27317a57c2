"""What the same stages derive from what is on a log when nothing runs: the replay that live must equal."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from schemas.cloudevents import decode
from schemas.event import Envelope, Topic
from schemas.events.incident_changes import IncidentExtended, IncidentOpened
from schemas.events.tracks_observed import TracksObserved
from schemas.topics import DETECTIONS, PREDICATES
from services.analyze.recompute import Counts, Part, recomputed
from services.orchestrator.across import AcrossStage
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.service import remember
from shared.bus.kafka import open_kafka
from shared.bus.port import Log, Partition
from shared.bus.reading import records
from shared.bus.sqlite import open_sqlite
from shared.clock import SystemClock
from shared.rules.values import CoverageGap
from tests.engines import databases


class Derived(NamedTuple):
    """What follows from `detections` alone, in the order of the log; rules over several cameras among it."""

    incidents: list[IncidentOpened]
    tracks: set[str]
    gaps: list[CoverageGap]
    seen_in: dict[str, list[str]]
    """The tracks of each incident, those of later matches that belong to it among them."""


def derive(folder: Path) -> list[IncidentOpened]:
    """The incidents that follow from the log in a data folder whose server has ended."""
    return derived(log=_log(folder), db=_db(folder)).incidents


def derived(*, log: str, db: str) -> Derived:
    """The same from the log and the orchestrator's database at these URLs."""
    return asyncio.run(_derived(log, db))


def derive_across(folder: Path) -> list[IncidentOpened]:
    """The same for rules over several cameras, from what the cameras answered."""
    return derived_across(log=_log(folder), db=_db(folder))


def derived_across(*, log: str, db: str) -> list[IncidentOpened]:
    """The same from the log and the orchestrator's database at these URLs."""
    return asyncio.run(_derive_across(log, db))


def read(log: str, topic: Topic = DETECTIONS) -> list[Sequence[Envelope]]:
    """Everything on a topic, partition by partition, in order."""
    return list(asyncio.run(everything(log, topic)).values())


async def _derived(url: str, db: str) -> Derived:
    knowledge = await _remembered(db)
    found = Derived([], set(), [], defaultdict(list))
    async with _opened(url) as log:
        async for effects in recomputed(log, knowledge, Part(), Counts()):
            found.gaps.extend(effects.gaps)
            for one in (*effects.incidents, *effects.fast):
                if isinstance(one.event, IncidentOpened | IncidentExtended):
                    known = found.seen_in[one.event.incident]
                    known += [track for track in one.event.tracks if track not in known]
                if isinstance(one.event, IncidentOpened):
                    found.incidents.append(one.event)
                elif isinstance(one.event, TracksObserved):
                    found.tracks.update(path.track for path in one.event.paths if path.points)
    return found


async def _derive_across(url: str, db: str) -> list[IncidentOpened]:
    knowledge = await _remembered(db)
    found: list[IncidentOpened] = []
    for events in (await everything(url, PREDICATES)).values():
        stage = AcrossStage(knowledge)
        for event in events:
            said = stage.handle(event, now=0).incidents
            found += [one.event for one in said if isinstance(one.event, IncidentOpened)]
    return found


async def _remembered(db: str) -> Knowledge:
    async with databases.open_database(
        db,
        service="orchestrator",
        clock=SystemClock(),
        migrations="services.orchestrator.migrations",
    ) as database:
        return await remember(database)


async def everything(url: str, topic: Topic) -> Mapping[Partition, Sequence[Envelope]]:
    """Everything on a topic, by partition, in order."""
    found: dict[Partition, list[Envelope]] = defaultdict(list)
    async with _opened(url) as log:
        async for batch in records(log, [topic]):
            found[batch[0].partition] += [
                decode(
                    topic.name,
                    one.key or "",
                    one.headers,
                    one.value,
                    partition=one.partition.number,
                    offset=one.offset,
                )
                for one in batch
            ]
    return found


def _opened(url: str) -> AbstractAsyncContextManager[Log]:
    if url.startswith("kafka"):
        return open_kafka(url)
    return open_sqlite(Path(url.removeprefix("sqlite:///")))


def _log(folder: Path) -> str:
    return f"sqlite:///{folder / 'log'}"


def _db(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'db'}"
