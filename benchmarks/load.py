"""Load L1: 1 kB events at a steady rate through Kafka, the engine, and a handler with an inbox; then a burst.

    python -m benchmarks.load [--seconds N] [--rate N] [--burst-seconds N] [--burst-rate N] [--json FILE]

The consumer is a process of its own: real engine, SQLite, one transaction a batch with the inbox marks and the rows, so
each event has one effect. Latency runs from the moment an event is made to the return of the commit that stored it.
Goals at 200 a second: p95 0.5 s, p99 2 s; a burst of 2,000 a second for 30 s is stored within 60 s of its end.
Short by default; the whole is `--seconds 600 --burst-seconds 30`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.schema import CreateTable

from benchmarks.figures import percentile, write
from benchmarks.log_kafka import detections
from schemas.event import Topic
from schemas.events.detections_made import DetectionsMade
from shared.bus.engine import Engine
from shared.bus.kafka import open_kafka
from shared.bus.port import Batch, Log, Message, Subscription
from shared.bus.publisher import message
from shared.clock import SystemClock
from shared.db.sqlite import open_sqlite
from tests.engines import processes
from tests.engines.kafka import KafkaBroker

if TYPE_CHECKING:
    from shared.db.engine import Database

TICK = 0.01  # seconds
P95, P99, DRAINED = 0.5, 2.0, 60.0
STORED = Table(
    "stored",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("said_at", Integer, nullable=False),
)


def a_topic(name: str) -> Topic:
    return Topic(name=name, kind="durable", partitions=8, retention_hours=1, description="bench")


class Consumer:
    """Stores each event once, and keeps how long it took; in its own process."""

    def __init__(self, database: Database) -> None:
        self.latencies: list[float] = []
        self._database = database

    async def handle(self, batch: Batch) -> None:
        """One transaction: which are new, and their rows."""
        events = {e.id: e.event for e in batch.envelopes if isinstance(e.event, DetectionsMade)}
        async with self._database.transaction() as tx:
            fresh = await tx.fresh("load", list(events))
            rows = [{"id": id, "said_at": events[id].captured_at} for id in events if id in fresh]
            if rows:
                await tx.execute(insert(STORED), rows)
        now = time.time_ns() // 1000
        self.latencies.extend((now - events[id].captured_at) / 1e6 for id in events if id in fresh)


async def consume(options: argparse.Namespace) -> None:
    """Until SIGTERM; progress in `--note`, all latencies at the end."""
    stop, topic = asyncio.Event(), a_topic(options.topic)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    folder = options.note.parent
    async with (
        open_sqlite(
            f"sqlite+aiosqlite:///{folder}", service="load", clock=SystemClock()
        ) as database,
        open_kafka(options.url, [topic]) as log,
    ):
        async with database.transaction() as tx:
            await tx.execute(CreateTable(STORED))
        consumer = Consumer(database)
        engine = Engine(
            log,
            Subscription(topics=(topic,), group=topic.name, handler=consumer.handle),
            service="bench",
            member="load",
            publisher_log=log,
            clock=SystemClock(),
        )
        running = asyncio.create_task(engine.run())
        while not stop.is_set():
            ready = len(consumer.latencies) if engine.caught_up else -1
            options.note.with_suffix(".new").write_text(str(ready))
            options.note.with_suffix(".new").replace(options.note)
            await asyncio.sleep(0.1)
        await engine.drain(5.0)
        await running
    options.note.with_suffix(".json").write_text(json.dumps(consumer.latencies))


async def say(log: Log, topic: Topic, rate: int, seconds: float) -> int:
    """Each event is sent when its time has come, whether or not those before it are acknowledged."""
    sending: set[asyncio.Task[Any]] = set()
    started, said, total = time.perf_counter(), 0, int(rate * seconds)
    run = uuid.uuid4().hex[:6]
    while said < total:
        due = min(total, int((time.perf_counter() - started) * rate) + 1)
        for number in range(said, due):
            task = asyncio.create_task(log.append([_event(topic, run, number)], timeout=60.0))
            sending.add(task)
            task.add_done_callback(sending.discard)
        said = due
        await asyncio.sleep(TICK)
    await asyncio.gather(*sending)
    return total


def _event(topic: Topic, run: str, number: int) -> Message:
    made = detections(number)
    assert isinstance(made.event, DetectionsMade)
    event = msgspec.structs.replace(made.event, captured_at=time.time_ns() // 1000)
    made = msgspec.structs.replace(made, id=f"{run}:{number}", event=event)
    return msgspec.structs.replace(message(made), topic=topic.name)


def stored(note: Path) -> int:
    """How many the consumer has stored so far; -1 before it has joined."""
    return int(note.read_text()) if note.exists() else -1


async def until_stored(note: Path, count: int, *, patience: float) -> float:
    """Seconds until the consumer has stored so many."""
    started = time.perf_counter()
    while (so_far := stored(note)) < count:
        if time.perf_counter() - started > patience:
            raise SystemExit(f"only {so_far} of {count} stored after {patience:g} s")
        await asyncio.sleep(0.05)
    return time.perf_counter() - started


async def measure(url: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    topic, note = a_topic(f"load-{uuid.uuid4().hex[:8]}"), folder / "note"
    place = ["--url", url, "--topic", topic.name, "--note", str(note)]
    async with open_kafka(url, [topic]) as log:
        command = [sys.executable, "-m", "benchmarks.load", *place]
        consumer = processes.spawn(command, log=folder / "log")
        try:
            await until_stored(note, 0, patience=60)
            steady = await say(log, topic, options.rate, options.seconds)
            await until_stored(note, steady, patience=120)
            burst = await say(log, topic, options.burst_rate, options.burst_seconds)
            drained = await until_stored(note, steady + burst, patience=600)
        finally:
            await asyncio.to_thread(processes.end, consumer, grace=20)
    latencies = json.loads(note.with_suffix(".json").read_text())[:steady]
    return {
        **{f"p{share}_s": percentile(latencies, share / 100) for share in (50, 95, 99)},
        "events": steady,
        "burst_events": burst,
        "burst_drained_s": drained,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--burst-seconds", type=float, default=5)
    parser.add_argument("--burst-rate", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    for hidden in ("--url", "--topic"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.note:
        asyncio.run(consume(options))
        return
    with tempfile.TemporaryDirectory() as name, KafkaBroker(Path(name) / "kafka") as broker:
        found = asyncio.run(measure(broker.url, options, Path(name)))
    goals = {"p95_s": P95, "p99_s": P99, "burst_drained_s": DRAINED}
    for key, value in found.items():
        print(f"{key:16} {value:8.3f}" + (f"   goal {goals[key]:g}" if key in goals else ""))
    write(found | {"goals": goals}, options.json)


if __name__ == "__main__":
    main()
