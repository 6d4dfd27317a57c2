"""A service as small as one can be, to be killed: stimulus -> effect and outbox -> relay -> what was received.

    python -m tests.chaos.worker --bus URL --folder DIR --prefix P --name A [--failpoint NAME --at N] [--drive N]

The failpoint is an object that the handlers and wrappers of this worker are built with; production code knows none.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.schema import CreateTable

from schemas.event import Envelope, Event, Picture, Topic
from shared.bus.engine import BusSettings, Engine
from shared.bus.kafka import open_kafka
from shared.bus.port import Batch, Handler, Log, Message, Partition, Subscription
from shared.bus.publisher import message
from shared.bus.sqlite import open_sqlite as open_sqlite_log
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.relay import Relay
from shared.db.sqlite import open_sqlite
from shared.errors import Poison
from tests.chaos.ledger import Ledger, drive, poison

SESSION = 6.0
SETTINGS = BusSettings(
    poll=0.2, commit_every=0.02, watch_every=0.2, retry_base=0.01, retry_cap=0.2, drain=5.0
)
TABLES = MetaData()


def _table(name: str) -> Table:
    return Table(
        name,
        TABLES,
        Column("n", Integer, primary_key=True, autoincrement=True),
        Column("id", String, nullable=False),
    )


EFFECTS, RECEIVED, REDELIVERED = map(_table, ("effects", "received", "redelivered"))


class Failpoint:
    """Kills this very process the `at`th time that `name` is hit."""

    def __init__(self, name: str, at: int) -> None:
        self._name = name
        self._left = at

    def hit(self, name: str) -> None:
        """The process is at this point now."""
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def topics(prefix: str) -> tuple[Topic, Topic]:
    """Stimuli, and what is said about their effects."""
    return _topic(f"{prefix}-stimuli"), _topic(f"{prefix}-effects")


def _topic(name: str) -> Topic:
    return Topic(name=name, kind="durable", partitions=4, retention_hours=1, description="chaos")


class Worker:
    """Handlers of both subscriptions, and the publisher of the relay."""

    def __init__(self, log: Log, database: Database, derived: Topic, failpoint: Failpoint) -> None:
        self._log = log
        self._database = database
        self._derived = derived
        self._failpoint = failpoint

    async def effect(self, batch: Batch) -> None:
        """Each stimulus has one effect, and says so."""
        self._failpoint.hit("before_effect")
        for envelope in batch.envelopes:
            if poison(envelope.id):
                raise Poison("one in a hundred")
        async with self._database.transaction() as tx:
            ids = [envelope.id for envelope in batch.envelopes]
            fresh = await tx.fresh("effects", ids)
            again = [{"id": id} for id in ids if id not in fresh]
            if again:
                await tx.execute(insert(REDELIVERED), again)
            if fresh:
                await tx.execute(insert(EFFECTS), [{"id": id} for id in ids if id in fresh])
                await tx.add([self._about(e) for e in batch.envelopes if e.id in fresh])
            self._failpoint.hit("in_transaction")
        self._failpoint.hit("after_effect_before_commit")

    async def receive(self, batch: Batch) -> None:
        """What was said arrives once."""
        async with self._database.transaction() as tx:
            ids = [envelope.id for envelope in batch.envelopes]
            fresh = await tx.fresh("received", ids)
            if fresh:
                await tx.execute(insert(RECEIVED), [{"id": id} for id in ids if id in fresh])

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """See `Publisher.publish`, with the failpoints of a relay."""
        self._failpoint.hit("after_db_before_publish")
        await self._log.append([message(envelope) for envelope in envelopes])
        self._failpoint.hit("after_publish_before_mark")

    def mint(
        self,
        event: Event,
        *,
        id: str | None = None,
        topic: Topic | None = None,
        picture: Picture | None = None,
        cause: Envelope | None = None,
    ) -> Envelope:
        """Not used by a relay."""
        raise TypeError("a relay mints nothing")

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        """Not used by a relay."""
        raise TypeError("a relay mints nothing")

    def _about(self, stimulus: Envelope) -> Envelope:
        return Envelope(
            id=stimulus.id,
            source="/chaos",
            topic=self._derived.name,
            key=stimulus.key,
            event=stimulus.event,
        )


class DeadLetters:
    """The log as the engine's dead-letter log, with a failpoint after the acknowledgement."""

    def __init__(self, log: Log, failpoint: Failpoint) -> None:
        self._log = log
        self._failpoint = failpoint
        self.reader = log.reader
        self.check = log.check
        self.close = log.close

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """Append, then hit."""
        places = await self._log.append(messages, timeout=timeout)
        self._failpoint.hit("after_dead_letter_before_commit")
        return places


@asynccontextmanager
async def opened(bus: str, known: Sequence[Topic]) -> AsyncIterator[Log]:
    """The log of a worker."""
    if bus.startswith("kafka://"):
        async with open_kafka(bus, known, session=SESSION) as log:
            yield log
    else:
        folder = Path(bus.removeprefix("sqlite://"))
        async with open_sqlite_log(folder, known, session=SESSION) as log:
            yield log


def engine(log: Log, subscription: Subscription, name: str, failpoint: Failpoint) -> Engine:
    """An engine of this worker."""
    return Engine(
        log,
        subscription,
        service="chaos",
        member=name,
        publisher_log=DeadLetters(log, failpoint),
        clock=SystemClock(),
        settings=SETTINGS,
    )


async def work(arguments: argparse.Namespace) -> None:
    """Run until SIGTERM, then drain as the runtime does: intake first."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    failpoint = Failpoint(arguments.failpoint, arguments.at)
    stimuli, derived = topics(arguments.prefix)
    folder = Path(arguments.folder)
    clock = SystemClock()
    database_url = f"sqlite+aiosqlite:///{folder}"
    async with (
        open_sqlite(database_url, service="worker", clock=clock) as database,
        opened(arguments.bus, (stimuli, derived)) as log,
    ):
        await _make_tables(database)
        worker = Worker(log, database, derived, failpoint)
        engines = [
            engine(log, subscription, arguments.name, failpoint)
            for subscription in (_of(stimuli, worker.effect), _of(derived, worker.receive))
        ]
        relay = Relay(database, worker, owner=arguments.name, clock=clock, batch=20, poll_s=0.2)
        driving = asyncio.create_task(
            drive(log, stimuli, Ledger(folder / "ledger"), arguments.drive, stop)
        )
        relaying = asyncio.create_task(relay.run())
        running = [asyncio.create_task(e.run()) for e in engines]
        print("ready", flush=True)  # noqa: T201 -- the test waits for it
        await stop.wait()
        await driving
        await asyncio.gather(*(e.drain(5.0) for e in engines))
        await asyncio.gather(*running)
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)


def _of(topic: Topic, handler: Handler) -> Subscription:
    return Subscription(topics=(topic,), handler=handler, group=f"{topic.name}-g", max_batch=5)


async def _make_tables(database: Database) -> None:
    async with database.transaction() as tx:
        for table in TABLES.sorted_tables:
            await tx.execute(CreateTable(table, if_not_exists=True))


def main() -> None:
    """Read the arguments and work."""
    parser = argparse.ArgumentParser()
    for name in ("bus", "folder", "prefix", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--failpoint", default="")
    parser.add_argument("--at", type=int, default=1)
    parser.add_argument("--drive", type=int, default=0)
    asyncio.run(work(parser.parse_args()))


if __name__ == "__main__":
    main()
