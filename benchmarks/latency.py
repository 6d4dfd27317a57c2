"""From capture to alert on a real Kafka broker, each service a process of its own, and where the time goes.

    python -m benchmarks.latency [--cameras N] [--offline N] [--seconds N] [--database URL] [--json FILE]

Simulated cameras at 5 pictures a second with the scripted detector. Measured is from the capture time of the frame
that completes a match to the moment at which a consumer of this script has read `alert.raised`; beside it the webhook's
receipt. The stages are read off the log afterwards: when each record about that frame was said. Alerts of the first
`--warm` seconds are not counted. All processes share one clock, this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import msgspec

from benchmarks.figures import spread, write
from schemas import topics
from schemas.cloudevents import decode
from schemas.events.alert_raised import AlertRaised
from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from shared.bus.kafka import open_kafka
from shared.sim.scene import Scene
from tests.e2e.receiver import Receiver
from tests.engines import processes
from tests.engines.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from schemas.event import Event, Topic
    from shared.bus.port import Log, Partition, Record

SERVICES = ("gateway", "vms", "orchestrator", "ingest", "inference", "notifier")
READY_S = 90.0
FPS = 5


class Seen(NamedTuple):
    """When something was said and when this script had read it, microseconds UTC."""

    said: int
    read: int


class Watcher:
    """Reads topics as any consumer would and notes when each frame, look and alert arrived."""

    def __init__(self) -> None:
        self.frames: dict[tuple[str, int, int], int] = {}
        self.left: dict[tuple[str, int, int], int] = {}
        self.looks: dict[tuple[str, int, int], Seen] = {}
        self.alerts: dict[str, tuple[AlertRaised, Seen]] = {}
        self.skipped = 0

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Nothing to load."""

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Nothing to save."""

    async def follow(self, log: Log, topic: Topic) -> None:
        """Read a topic from now on, until cancelled."""
        reader = await log.reader(
            [topic], kind="tail", group="latency", member=topic.name, listener=self
        )
        try:
            while True:
                for records in (await reader.fetch(max_records=500, timeout=1.0)).values():
                    now = time.time_ns() // 1000
                    for record in records:
                        self._note(record, Seen(record.timestamp, now))
        finally:
            await reader.close()

    def _note(self, record: Record, seen: Seen) -> None:
        event = _event(record)
        if isinstance(event, FrameCaptured):
            place = event.camera, event.epoch, event.seq
            self.frames[place], self.left[place] = seen.said, event.read_at
        elif isinstance(event, DetectionsMade):
            self.looks[event.camera, event.epoch, event.seq] = seen
            self.skipped += event.skipped
        elif isinstance(event, AlertRaised):
            self.alerts.setdefault(event.alert, (event, seen))


def _event(record: Record) -> Event | None:
    place = record.partition
    return decode(
        place.topic,
        record.key or "",
        record.headers,
        record.value,
        partition=place.number,
        offset=record.offset,
    ).event


class TimedReceiver(Receiver):
    """Notes when the first webhook about each alert came."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, int] = {}

    def take(self, identity: str, body: dict[str, Any]) -> None:
        self.at.setdefault(body["data"]["alert"], time.time_ns() // 1000)
        super().take(identity, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=5)
    parser.add_argument("--offline", type=int, default=0, help="cameras that never answer")
    parser.add_argument("--seconds", type=int, default=120, help="of the scene")
    parser.add_argument("--warm", type=float, default=10.0, help="seconds that are not counted")
    parser.add_argument("--database", help="VANTAGE_DB_URL; default: SQLite files")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(KafkaBroker(folder / "kafka"))
        receiver = stack.enter_context(TimedReceiver())
        settings = _settings(folder, broker.url, options.database)
        owner = stack.enter_context(_house(folder, settings))
        found = asyncio.run(_measure(owner, broker.url, receiver, options))
    write(found, options.json)


def _settings(folder: Path, bus: str, database: str | None) -> dict[str, str]:
    ports = {name: processes.free_port() for name in SERVICES if name != "gateway"}
    common = {
        "VANTAGE_BUS_URL": bus,
        "VANTAGE_DATA_DIR": str(folder / "data"),
        "VANTAGE_CAMERA_NETS": "127.0.0.0/8",
        "VANTAGE_WEBHOOK_NETS": "127.0.0.0/8",
        "VANTAGE_LOG_LEVEL": "WARNING",
        "VANTAGE_METRICS_PORT": "0",
        "VANTAGE_GATEWAY_UPSTREAMS": ",".join(f"http://127.0.0.1:{p}" for p in ports.values()),
        **({"VANTAGE_DB_URL": database} if database else {}),
    }
    return common | {f"port {name}": str(port) for name, port in ports.items()}


@contextlib.contextmanager
def _house(folder: Path, settings: Mapping[str, str]) -> Iterator[Owner]:
    """Every service in a process of its own."""
    given = {name: value for name, value in settings.items() if name.startswith("VANTAGE")}
    with contextlib.ExitStack() as stack:
        for name in SERVICES:
            port = settings.get(f"port {name}", "0")
            process = processes.spawn(
                [sys.executable, "-m", "services.main", "run", name, "--port", port],
                log=folder / f"{name}.log",
                environment=given,
            )
            stack.callback(processes.end, process)
        yield Owner(folder)


class Owner:
    """Calls the API as the machine's owner."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "data" / "run" / "api.sock"

    async def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Call until the services behind the gateway answer."""
        deadline = time.monotonic() + READY_S
        while True:
            transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
            with contextlib.suppress(httpx.TransportError):
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://vantage"
                ) as client:
                    answer = await client.request(method, path, json=body, timeout=10)
                if answer.status_code not in (404, 503):
                    answer.raise_for_status()
                    found: dict[str, Any] = answer.json() if answer.content else {}
                    return found
            if time.monotonic() > deadline:
                raise SystemExit(f"{method} {path}: no answer within {READY_S} s")
            await asyncio.sleep(0.3)


async def _measure(
    owner: Owner, bus: str, receiver: TimedReceiver, options: argparse.Namespace
) -> dict[str, Any]:
    watcher = Watcher()
    async with open_kafka(bus) as log:
        watching = [
            asyncio.create_task(watcher.follow(log, topic))
            for topic in (topics.FRAMES, topics.DETECTIONS, topics.ALERTS)
        ]
        await _put_up(owner, receiver.url, options)
        began = time.time_ns() // 1000
        await asyncio.sleep(options.seconds + 3)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return _report(watcher, receiver, began + round(options.warm * 1_000_000))


async def _put_up(owner: Owner, webhook: str, options: argparse.Namespace) -> None:
    """Cameras with rules; they are switched on when the rules already count."""
    channel = {"kind": "webhook", "name": "hook", "url": webhook}
    await owner.call("POST", "/api/v1/channels", channel)
    for number in range(options.offline):
        url = f"rtsp://127.0.0.1:{processes.free_port()}/{number}"
        await owner.call("POST", "/api/v1/cameras", {"name": f"away{number}", "url": url})
    cameras = []
    for number in range(options.cameras):
        scene = Scene(seed=7 + number, duration_s=options.seconds)
        name = f"yard{number}"
        query = f"seed={7 + number}&duration={options.seconds}"
        camera = {
            "name": name,
            "url": f"sim://demo?{query}&fps={FPS}",
            "enabled": False,
            "zones": msgspec.to_builtins(scene.zones),
            "lines": msgspec.to_builtins(scene.lines),
            "detect": {"backend": "scripted", "model": f"sim?{query}"},
        }
        made = await owner.call("POST", "/api/v1/cameras", camera)
        cameras.append((made["id"], scene))
    for id_, scene in cameras:
        for rule in scene.rules(id_):
            await owner.call("POST", "/api/v1/rules", {"document": rule})
    await asyncio.sleep(2.5)  # a rule counts two seconds after it was saved
    for id_, _ in cameras:
        await owner.call("PATCH", f"/api/v1/cameras/{id_}", {"enabled": True})


def _report(watcher: Watcher, receiver: TimedReceiver, from_: int) -> dict[str, Any]:
    rows: dict[str, list[float]] = {name: [] for name in STAGES}
    for alert, seen in watcher.alerts.values():
        place = alert.camera, alert.epoch, alert.seq
        if alert.matched_at < from_ or place not in watcher.frames or place not in watcher.looks:
            continue
        steps = (
            alert.matched_at,
            watcher.left[place],
            watcher.frames[place],
            watcher.looks[place].said,
            alert.raised_at,
            seen.said,
            seen.read,
        )
        for name, value in zip(STAGES, _steps(steps), strict=False):
            rows[name].append(value)
        rows["capture to alert read"].append((seen.read - alert.matched_at) / 1000)
        if alert.alert in receiver.at:
            rows["capture to webhook"].append((receiver.at[alert.alert] - alert.matched_at) / 1000)
    print(f"alerts counted: {len(rows['capture to alert read'])}; milliseconds")
    print(f"{'':34}{'median':>9}{'p95':>9}{'worst':>9}")
    for name, values in rows.items():
        if values:
            print(f"{name:34}" + "".join(f"{v:9.1f}" for v in spread(values)))
    looks, frames = len(watcher.looks), len(watcher.frames)
    dropped = watcher.skipped / max(1, watcher.skipped + looks)
    print(f"frames {frames}, looked at {looks}, dropped {watcher.skipped} ({dropped:.2%})")
    return {
        "milliseconds": {name: spread(values) for name, values in rows.items() if values},
        "alerts": len(rows["capture to alert read"]),
        "frames": frames,
        "dropped": dropped,
        "cores": len(os.sched_getaffinity(0)),
    }


STAGES = (
    "capture to leaving the reader",
    "to the frame said",
    "to the detections said",
    "to the decision",
    "to the alert said",
    "to the alert read",
    "capture to alert read",
    "capture to webhook",
)


def _steps(times: Sequence[int]) -> list[float]:
    return [(later - earlier) / 1000 for earlier, later in pairwise(times)]


if __name__ == "__main__":
    main()
