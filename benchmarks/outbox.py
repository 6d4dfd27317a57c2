"""How fast a backlog in the outbox reaches the log, on a real PostgreSQL (and Kafka) that this script starts.

    python -m benchmarks.outbox [--rows N] [--log memory|kafka|none] [--held] [--profile]

Goal (L8 of the test plan): a backlog of a million rows drains at 1,000 rows a second or better. `none` publishes
to nobody: what the database alone costs. `--held` keeps a transaction open beside it, so that PostgreSQL may not
clear away what was removed.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from schemas import topics
from schemas.event import Envelope
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus.kafka import open_kafka
from shared.bus.memory import open_memory
from shared.bus.publisher import ServicePublisher
from shared.clock import SystemClock
from shared.db.postgres import open_postgres
from shared.db.relay import Relay
from tests.engines.kafka import KafkaBroker
from tests.engines.postgres import make_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from shared.bus.port import Log, Publisher
    from shared.db.engine import Database

KEYS = 200
FILL = 2_000  # rows a transaction while the backlog is made
STEPS = 10


class Nobody:
    """A publisher that acknowledges at once."""

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Nothing."""


def event(number: int) -> Envelope:
    camera = f"camera-{number % KEYS:03}"
    return Envelope(
        id=f"e-{number:08}",
        source="/vantage/ingest/main",
        topic=topics.CAMERA_STATUS.name,
        key=camera,
        event=CameraStatusChanged(
            camera=camera, state="online", attempt=number % 7, changed_at=1_800_000_000_000_000
        ),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def fill(database: Database, rows: int) -> float:
    """Make the backlog; rows a second."""
    started = time.perf_counter()
    for first in range(0, rows, FILL):
        async with database.transaction() as tx:
            await tx.add([event(number) for number in range(first, min(first + FILL, rows))])
    return rows / (time.perf_counter() - started)


async def drain(database: Database, publisher: Publisher, rows: int) -> list[float]:
    """Drain it; rows a second of each tenth of the way."""
    relay = Relay(database, publisher, owner="bench", clock=database.clock)
    done = asyncio.create_task(relay.flush())
    speeds, before, started = [], rows, time.perf_counter()
    for step in range(1, STEPS + 1):
        left = rows * (STEPS - step) // STEPS
        now = await waiting(database)
        while now > left:
            await asyncio.sleep(0.05)
            now = await waiting(database)
        took, started = time.perf_counter() - started, time.perf_counter()
        speeds.append((before - now) / took)
        before = now
    await done
    return speeds


async def waiting(database: Database) -> int:
    """How many rows wait: numbers are given without gaps here, so the lowest says it."""
    async with database.read() as reader:
        span = await reader.execute(text("SELECT max(id) - min(id) + 1 FROM outbox"))
        return int(span.scalar_one() or 0)


@asynccontextmanager
async def publisher_of(kind: str, folder: Path) -> AsyncIterator[Publisher]:
    async with AsyncExitStack() as stack:
        if kind == "none":
            yield Nobody()  # type: ignore[misc]  # the relay mints nothing
            return
        if kind == "kafka":
            broker = stack.enter_context(KafkaBroker(folder / "kafka"))
            opened: AbstractAsyncContextManager[Log] = open_kafka(
                broker.url, [topics.CAMERA_STATUS]
            )
        else:
            opened = open_memory([topics.CAMERA_STATUS])
        log = await stack.enter_async_context(opened)
        yield ServicePublisher(log, "ingest", (topics.CAMERA_STATUS,), "/vantage/ingest/main")


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    profile = cProfile.Profile()
    if wanted:
        profile.enable()
    yield
    if wanted:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


async def measure(url: str, folder: Path, arguments: argparse.Namespace) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_postgres(url, service="ingest", clock=clock)
        )
        other = await stack.enter_async_context(open_postgres(url, service="ingest", clock=clock))
        publisher = await stack.enter_async_context(publisher_of(arguments.log, folder))
        filled = await fill(database, arguments.rows)
        print(f"{arguments.rows:,} rows put in the outbox at {filled:,.0f} rows/s")
        held = asyncio.create_task(hold(other)) if arguments.held else None
        started, spent = time.perf_counter(), time.process_time()
        with profiled(arguments.profile):
            speeds = await drain(database, publisher, arguments.rows)
        took, spent = time.perf_counter() - started, time.process_time() - spent
        print(f"drained to {arguments.log} at {arguments.rows / took:,.0f} rows/s ", end="")
        print(f"({spent / took:.0%} of a core); by tenths {[round(speed) for speed in speeds]}")
        if held is not None:
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)


async def hold(database: Database) -> None:
    """Keep one transaction open, and busy."""
    async with database.transaction() as tx:
        await tx.execute(text("INSERT INTO leases VALUES ('held', 'held', 1, 0)"))
        while True:
            await tx.execute(text("SELECT pg_sleep(1)"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--log", choices=["memory", "kafka", "none"], default="memory")
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with make_postgres() as server, tempfile.TemporaryDirectory() as folder:
        url = server.url(server.new_database())
        asyncio.run(measure(url, Path(folder), arguments))


if __name__ == "__main__":
    main()
