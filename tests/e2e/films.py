"""A film that a server played, played once more by `vantage analyze`: what both say, in the same shape."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import yaml

from schemas.cloudevents import decode
from schemas.event import Box, Topic, moment
from schemas.events.camera_configured import Line, Zone
from schemas.events.detections_made import DetectionsMade
from schemas.events.stream_marks import StreamOpened
from schemas.events.tracks_observed import TracksObserved
from schemas.topics import DETECTIONS, TRACKS
from shared.bus import sqlite as log_files
from shared.bus.port import Partition
from shared.vision import mot
from tests.e2e.server import Server, eventually

SECOND = 1_000_000

Place: TypeAlias = tuple[int, int, int, int]
Rows: TypeAlias = list[tuple[int, str, Place]]
"""Microseconds since the start, label or number of the track, box in thousandths of a pixel."""


class Film(NamedTuple):
    """What a camera was set up with, and what `analyze` is given."""

    source: str
    model: tuple[str, ...]
    rules: Sequence[object]
    zones: Sequence[Zone] = ()
    lines: Sequence[Line] = ()
    detect: dict[str, object] | None = None


class Live(NamedTuple):
    """What the log of a server holds of its only camera."""

    opened: StreamOpened
    detections: Rows
    tracks: Rows


class Offline(NamedTuple):
    """What `analyze` wrote."""

    detections: Rows
    tracks: Rows
    incidents: set[str]


def settle(server: Server) -> None:
    """Wait until the tracks that the server shows do not change any more."""
    shown: list[Any] = []

    def unchanged() -> bool:
        shown.append(server.every("/api/v1/tracks"))
        return len(shown) > 1 and shown[-1] == shown[-2] != []

    eventually(unchanged, seconds=30, every=1.5)


def said(folder: Path) -> Live:
    """Read the log in the data folder of a server that has ended."""
    events = asyncio.run(_events(folder / "log", (DETECTIONS, TRACKS)))
    opened = next(event for event in events if isinstance(event, StreamOpened))
    start = opened.opened_at
    detections = [
        (event.captured_at - start, one.label, _place(one.box))
        for event in events
        if isinstance(event, DetectionsMade)
        for one in event.detections
    ]
    tracks = [
        (point.at - start, path.track.rpartition("-")[2], _place(point.box))
        for event in events
        if isinstance(event, TracksObserved)
        for path in event.paths
        for point in path.points
    ]
    return Live(opened, sorted(detections), sorted(tracks))


def analyze(film: Film, live: Live, folder: Path) -> Offline:
    """Run `vantage analyze` as the camera that was live."""
    rules, site, out = folder / "rules.yaml", folder / "site.yaml", folder / "out"
    rules.write_text(yaml.safe_dump(film.rules))
    places = {
        "zones": msgspec.to_builtins(film.zones),
        "lines": msgspec.to_builtins(film.lines),
        "detect": film.detect or {},
    }
    site.write_text(yaml.safe_dump(places))
    opened = live.opened
    start = moment(opened.opened_at).isoformat()
    command = [sys.executable, "-m", "services.main", "analyze", film.source, *film.model]
    command += ["--rules", str(rules), "--site", str(site), "--out", str(out)]
    command += ["--camera", opened.camera, "--epoch", str(opened.epoch), "--start", start]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return _written(out)


def _written(out: Path) -> Offline:
    rows = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
    times = {row["frame"]: round(row["time"] * SECOND) for row in rows}
    detections = [(times[row["frame"]], row["class"], _place(row["box"])) for row in rows]
    tracks = [
        (times[row.frame], str(row.id), _place(row.box))
        for row in mot.parse((out / "tracks.txt").read_text(), name="tracks.txt")
    ]
    incidents = (out / "incidents.jsonl").read_text().splitlines()
    ids = {json.loads(line)["id"] for line in incidents}
    return Offline(sorted(detections), sorted(tracks), ids)


def _place(box: Box) -> Place:
    left, top, width, height = (round(side * 1000) for side in box)
    return left, top, width, height


async def _events(folder: Path, topics: Sequence[Topic]) -> list[object]:
    """Everything on some topics, in order within each partition."""
    found: list[object] = []
    async with log_files.open_sqlite(folder) as log:
        reader = await log.reader(
            topics, kind="table", group="films", member="test", listener=_Nobody()
        )
        while records := await reader.fetch(max_records=1000, timeout=0.5):
            for partition, batch in records.items():
                for one in batch:
                    envelope = decode(partition.topic, one.key or "", one.headers, one.value)
                    found.append(envelope.event)
        await reader.close()
    return found


class _Nobody:
    """A listener that minds nothing."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        return None

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None
