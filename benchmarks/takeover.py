"""How long the partitions of a group's member lie idle after `kill -9`: until another member works on them, and beside
it until the member itself does, started again at once under its name (static membership).

    python -m benchmarks.takeover [--runs N] [--quick] [--session SECONDS] [--json FILE]

Members are processes of their own with the real engine, on a real broker that this script starts. Records are said to
every partition all the time; the clock runs from the kill to the first record of the last of the member's partitions
that was said after it and handled by the member that is asked for. The second figure has the start of Python in it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from benchmarks.figures import spread, write
from schemas.event import Topic
from shared.bus.engine import Engine
from shared.bus.kafka import open_kafka
from shared.bus.kafka.log import SESSION
from shared.bus.port import Batch, Subscription
from shared.clock import SystemClock
from tests.contract.bus import fact
from tests.engines import processes
from tests.engines.kafka import KafkaBroker

if TYPE_CHECKING:
    import subprocess

PARTITIONS = 6
EVERY = 0.05  # seconds between two records of a partition
PATIENCE = 120.0


class Handled(NamedTuple):
    """A member handled a record of a partition that was said at a time of the machine's monotonic clock, in seconds."""

    member: str
    partition: int
    said: float
    at: float


def a_topic(name: str) -> Topic:
    return Topic(
        name=name, kind="durable", partitions=PARTITIONS, retention_hours=1, description="bench"
    )


class Crew:
    """Members as processes; each notes what it handles in a file of its own."""

    def __init__(self, url: str, folder: Path, session: float) -> None:
        self.topic = a_topic(f"takeover-{uuid.uuid4().hex[:8]}")
        self._url = url
        self._folder = folder
        self._session = session
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        command = [sys.executable, "-m", "benchmarks.takeover", "--member", name]
        place = ["--url", self._url, "--topic", self.topic.name, "--session", str(self._session)]
        note = ["--note", str(self._note(name))]
        self._running[name] = processes.spawn([*command, *place, *note], log=self._folder / "log")

    def kill(self, name: str) -> None:
        processes.kill(self._running.pop(name))

    def end(self) -> None:
        for process in self._running.values():
            processes.kill(process)

    def handled(self, name: str, since: float) -> dict[int, Handled]:
        """The first record of each partition that this member handled and that was said since then."""
        found: dict[int, Handled] = {}
        note = self._note(name)
        for line in note.read_text().splitlines() if note.exists() else ():
            partition, said, at = line.split()
            if float(said) >= since:
                found.setdefault(
                    int(partition), Handled(name, int(partition), float(said), float(at))
                )
        return found

    async def has(self, name: str, partitions: set[int], since: float) -> float:
        """Wait until the member works on all of these; returns when it did."""
        deadline = time.monotonic() + PATIENCE
        while not partitions <= self.handled(name, since).keys():
            if time.monotonic() > deadline:
                raise SystemExit(f"{name} does not take {partitions} within {PATIENCE:g} s")
            await asyncio.sleep(0.1)
        found = self.handled(name, since)
        return max(found[partition].at for partition in partitions)

    async def shared(self) -> set[int]:
        """Wait until both members have partitions again, half each; returns those of `a`."""
        while True:
            since = time.monotonic()
            await asyncio.sleep(1.0)
            a, b = (self.handled(name, since).keys() for name in ("a", "b"))
            if len(a) == len(b) == PARTITIONS // 2 and not a & b:
                return set(a)

    def _note(self, name: str) -> Path:
        return self._folder / f"{name}.note"


async def one_takeover(crew: Crew, *, again: bool) -> float:
    """Seconds from the kill of `a` until `b`, or `a` started again at once, works on its partitions."""
    mine = await crew.shared()
    killed = time.monotonic()
    crew.kill("a")
    if again:
        crew.start("a")
        return await crew.has("a", mine, killed) - killed
    took = await crew.has("b", mine, killed) - killed
    crew.start("a")
    return took


async def measure(url: str, folder: Path, runs: int, session: float) -> dict[str, list[float]]:
    crew = Crew(url, folder, session)
    async with open_kafka(url, [crew.topic]) as log:

        async def talk() -> None:
            while True:
                said = fact(crew.topic, "bench", time.monotonic_ns())
                await log.append([replace(said, partition=n) for n in range(PARTITIONS)])
                await asyncio.sleep(EVERY)

        talking = asyncio.create_task(talk())
        try:
            crew.start("a")
            crew.start("b")
            found: dict[str, list[float]] = {"another member": [], "itself, restarted": []}
            for _ in range(runs):
                found["another member"].append(await one_takeover(crew, again=False))
                found["itself, restarted"].append(await one_takeover(crew, again=True))
            return found
        finally:
            talking.cancel()
            crew.end()


async def work(options: argparse.Namespace) -> None:
    """One member, until it is killed. The number of a fact is when it was said, in nanoseconds."""
    with options.note.open("a", buffering=1) as note:

        async def handle(batch: Batch) -> None:
            now = time.monotonic()
            for envelope in batch.envelopes:
                said = int(envelope.id.partition(":")[2]) / 1e9
                note.write(f"{batch.partition.number} {said} {now}\n")

        topic = a_topic(options.topic)
        async with open_kafka(options.url, [topic], session=options.session) as log:
            engine = Engine(
                log,
                Subscription(topics=(topic,), group=topic.name, handler=handle),
                service="bench",
                member=options.member,
                publisher_log=log,
                clock=SystemClock(),
            )
            await engine.run()


def report(found: dict[str, list[float]], session: float, file: Path | None) -> None:
    print(f"after kill -9, session {session:g} s          median    worst   of")
    for name, seconds in found.items():
        median, _, worst = spread(seconds)
        print(f"{name:36} {median:6.1f} s {worst:6.1f} s   {len(seconds)}")
    write({"session": session, "seconds": found}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="3 runs")
    parser.add_argument("--session", type=float, default=SESSION)
    parser.add_argument("--json", type=Path)
    for hidden in ("--member", "--url", "--topic"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        asyncio.run(work(options))
        return
    with tempfile.TemporaryDirectory() as name, KafkaBroker(Path(name) / "kafka") as broker:
        runs = 3 if options.quick else options.runs
        found = asyncio.run(measure(broker.url, Path(name), runs, options.session))
    report(found, options.session, options.json)


if __name__ == "__main__":
    main()
