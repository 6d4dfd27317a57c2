"""The pure stages once more over what is on the log: tracks and incidents as they would be, into files, no effects."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.cloudevents import Undecodable, rfc3339
from schemas.event import type_name
from schemas.events.incident_changes import IncidentOpened
from schemas.topics import DETECTIONS
from services.analyze.lane import PartitionStage
from services.analyze.sites import Sites
from services.analyze.stages import decoded
from services.orchestrator.handlers import GROUP
from services.orchestrator.stage import CameraStage, Effects
from shared.bus.dead_letters import returned_to
from shared.bus.reading import first_at, in_order
from shared.rules.across.site import LATENESS, SILENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from schemas.event import Envelope
    from services.orchestrator.knowledge import Knowledge
    from shared.bus.port import Log, Offsets, Partition, Record

EARLIER_US = (
    60_000_000  # a record lies on the log after its event time, give or take two hosts' clocks
)
AFTER_US = 2 * LATENESS + SILENCE
"""So much later rules over several cameras have decided a moment, also where one of them is silent."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at: event time in microseconds (`until` not included), and cameras; empty: all."""

    since: int | None = None
    until: int | None = None
    cameras: frozenset[str] = frozenset()

    def covers(self, envelope: Envelope) -> bool:
        """Whether an event is looked at."""
        if envelope.event is None or (self.cameras and envelope.key not in self.cameras):
            return False
        at = envelope.event.at
        return (self.since is None or at >= self.since) and self._ends_after(at)

    def wider(self, sites: Sites) -> Part:
        """With all that rules over several cameras need to hear."""
        if not sites.rules:
            return self
        until = None if self.until is None else self.until + AFTER_US
        return Part(since=self.since, until=until, cameras=self.cameras | sites.along)

    def within(self, effects: Effects) -> Effects:
        """What rules over several cameras say, without what lies behind the end."""
        said = [
            one
            for one in effects.incidents
            if one.event is not None and self._ends_after(one.event.at)
        ]
        gaps = [gap for gap in effects.gaps if self._ends_after(gap.at)]
        return Effects(incidents=said, gaps=gaps, late=effects.late)

    def _ends_after(self, at: int) -> bool:
        return self.until is None or at < self.until


class Counts(msgspec.Struct):
    """What was met. `bad`: what no stage could digest; live it would be a dead letter.

    `along`: cameras that were not asked for and heard all the same, since rules over several cameras need them.
    """

    records: int = 0
    events: int = 0
    bad: int = 0
    late: int = 0
    incidents: int = 0
    first_at: int | None = None
    last_at: int | None = None
    along: frozenset[str] = frozenset()

    def say(self, effects: Effects) -> None:
        """This followed."""
        self.late += effects.late
        self.incidents += sum(isinstance(one.event, IncidentOpened) for one in effects.incidents)

    def met(self, envelope: Envelope) -> None:
        """An event of what is looked at went through the stages."""
        at = envelope.event.at if envelope.event is not None else 0
        self.events += 1
        self.first_at = at if self.first_at is None else min(at, self.first_at)
        self.last_at = at if self.last_at is None else max(at, self.last_at)


async def recomputed(
    log: Log, knowledge: Knowledge, part: Part, counts: Counts, since: Offsets | None = None
) -> AsyncIterator[Effects]:
    """What the stages say of the events on `detections`, heard in the order in which the log got them.

    What cameras answer reaches the rules over several of them at once, as if no stage had ever been away. All begin
    empty: a track that was alive before the first event gets its id anew, and a window knows nothing of before.
    """
    lanes: dict[Partition, PartitionStage] = defaultdict(
        lambda: PartitionStage(partial(CameraStage, knowledge))
    )
    sites = Sites(knowledge, part.cameras)
    counts.along, heard = sites.along, part.wider(sites)
    async for record in in_order(log, DETECTIONS, since=since):
        counts.records += 1
        envelope = _heard(record, counts)
        if envelope is None or not heard.covers(envelope):
            continue
        effects = lanes[record.partition].handle(envelope, now=record.timestamp)
        if effects is None:
            counts.bad += 1
            continue
        over = part.within(sites.hear(record, effects.fast))
        if part.covers(envelope):
            counts.met(envelope)
            over.add(effects)
        counts.say(over)
        yield over
    counts.bad += sites.bad


async def start_of(log: Log, part: Part) -> Offsets | None:
    """Where reading begins."""
    if part.since is None:
        return None
    return await first_at(log, DETECTIONS, max(0, part.since - EARLIER_US))


class Files:
    """Writes what was recomputed as JSON lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tracks = (folder / "tracks.jsonl").open("wb")
        self._incidents = (folder / "incidents.jsonl").open("wb")
        self._gaps = (folder / "gaps.jsonl").open("wb")

    def take(self, effects: Effects) -> None:
        """What follows from one event: seconds of tracks, incidents with their alerts, and what was not seen."""
        for envelope in effects.fast:
            if envelope.event is not None and envelope.event.type == "tracks.observed":
                self._tracks.write(_line(envelope))
        for envelope in effects.incidents:
            self._incidents.write(_line(envelope))
        for gap in effects.gaps:
            self._gaps.write(msgspec.json.encode(gap) + b"\n")

    def close(self, counts: Counts, part: Part) -> None:
        """Write `summary.json` too."""
        for file in (self._tracks, self._incidents, self._gaps):
            file.close()
        times = {
            "from": part.since,
            "to": part.until,
            "first": counts.first_at,
            "last": counts.last_at,
        }
        said = {name: None if at is None else rfc3339(at) for name, at in times.items()}
        numbers = {n: getattr(counts, n) for n in ("records", "events", "bad", "late", "incidents")}
        cameras = {"cameras": sorted(part.cameras), "heard_along": sorted(counts.along)}
        summary = {**said, **cameras, **numbers}
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        (self._folder / "summary.json").write_bytes(text + b"\n")


async def write(
    log: Log, knowledge: Knowledge, part: Part, folder: Path, advance: Callable[[int], Any]
) -> Counts:
    """Recompute into files of `folder`; `advance` is told how many records were read."""
    counts, files = Counts(), Files(folder)
    try:
        async for effects in recomputed(log, knowledge, part, counts, await start_of(log, part)):
            files.take(effects)
            advance(counts.records)
    finally:
        files.close(counts, part)
    return counts


def _heard(record: Record, counts: Counts) -> Envelope | None:
    """The event, None where it is none, or one that went back to another group."""
    if returned_to(record) not in (None, GROUP):
        return None
    try:
        return decoded(record)
    except Undecodable:
        counts.bad += 1
        return None


def _line(envelope: Envelope) -> bytes:
    event = envelope.event
    said = {
        "id": envelope.id,
        "type": None if event is None else type_name(type(event)),
        "data": event,
    }
    return msgspec.json.encode(said) + b"\n"
