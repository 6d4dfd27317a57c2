"""What the tests of the log share: adapters to open, facts to append, an engine that runs for a while."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, NamedTuple

from schemas.cloudevents import attributes
from schemas.event import Envelope, Topic
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus import reading
from shared.bus.dead_letters import Origin, dead_topic, origin
from shared.bus.engine import Engine
from shared.bus.port import (
    Batch,
    Handler,
    Log,
    Message,
    Partition,
    Reader,
    Record,
    Subscription,
)
from shared.bus.publisher import message
from shared.bus.settings import BusSettings
from shared.clock import SystemClock

QUICK = BusSettings(
    poll=0.2, commit_every=0.01, watch_every=0.05, drain=5.0, retry_base=0.01, retry_cap=0.05
)


class OpenLog(NamedTuple):
    """Opens the log under test. `session`: seconds after which a silent member is missed."""

    session: float
    opens: Callable[[Sequence[Topic], float], AbstractAsyncContextManager[Log]]

    def __call__(self, topics: Sequence[Topic]) -> AbstractAsyncContextManager[Log]:
        """The log with these topics."""
        return self.opens(topics, self.session)


def make_topic(
    kind: Literal["ephemeral", "durable", "compacted"] = "durable", *, partitions: int = 3
) -> Topic:
    """A topic that no other test knows."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    return Topic(
        name=name, kind=kind, partitions=partitions, retention_hours=1, description="of a test"
    )


def fact(topic: Topic, key: str, number: int) -> Message:
    """The `number`th fact about `key`; its id says both."""
    event = CameraStatusChanged(camera=key, state="online", attempt=number, changed_at=number)
    return message(
        Envelope(id=f"{key}:{number}", source="/test", topic=topic.name, key=key, event=event)
    )


def facts(topic: Topic, keys: Iterable[str], numbers: Iterable[int]) -> list[Message]:
    """One fact for each number and key."""
    known = list(keys)
    return [fact(topic, key, number) for number in numbers for key in known]


def garbage(topic: Topic, key: str) -> Message:
    """A message that is no event of ours."""
    return Message(
        topic=topic.name,
        key=key,
        value=b"{broken",
        headers=(
            ("ce_id", b"bad"),
            ("ce_source", b"/test"),
            ("ce_type", b"camera.status-changed.v1"),
        ),
    )


def tombstone(topic: Topic, key: str) -> Message:
    """A message that deletes `key`."""
    gone = Envelope(id=f"{key}:gone", source="/test", topic=topic.name, key=key, event=None)
    return Message(topic=topic.name, key=key, value=None, headers=attributes(gone))


class Seen:
    """A handler that remembers; `fails` may raise for an envelope, `waits` seconds pass for each batch."""

    def __init__(
        self, fails: Callable[[Envelope], None] | None = None, *, waits: float = 0.0
    ) -> None:
        self.batches: list[Batch] = []
        self.ids: list[str] = []
        self._fails = fails
        self._waits = waits

    async def __call__(self, batch: Batch) -> None:
        """Handle a batch; its ids count only when it passes as a whole."""
        self.batches.append(batch)
        await asyncio.sleep(self._waits)
        if self._fails is not None:
            for envelope in batch.envelopes:
                self._fails(envelope)
        self.ids.extend(envelope.id for envelope in batch.envelopes)

    def of(self, key: str) -> list[int]:
        """The numbers seen of one key, in order."""
        return [int(number) for name, number in map(_split, self.ids) if name == key]


def _split(id: str) -> tuple[str, str]:
    key, _, number = id.partition(":")
    return key, number


class Quiet:
    """A listener that only remembers what it was told."""

    def __init__(self) -> None:
        self.assignments: list[list[Partition]] = []
        self.revocations: list[list[Partition]] = []

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Remember."""
        self.assignments.append(sorted(partitions))

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Remember."""
        if partitions:
            self.revocations.append(sorted(partitions))


def subscribe(topic: Topic, handler: Handler, **more: object) -> Subscription:
    """A group subscription on one topic."""
    return Subscription(topics=(topic,), handler=handler, group=f"g-{topic.name}", **more)  # type: ignore[arg-type]  # by name


def make_engine(
    log: Log, subscription: Subscription, *, member: str = "m1", **more: object
) -> Engine:
    """An engine with quick settings."""
    arguments: dict[str, object] = {
        "service": "test",
        "publisher_log": log,
        "clock": SystemClock(),
        "settings": QUICK,
    }
    return Engine(log, subscription, member=member, **(arguments | more))  # type: ignore[arg-type]  # by name


@asynccontextmanager
async def running(*engines: Engine) -> AsyncIterator[None]:
    """Run engines until the block ends, then drain them; an engine that fails, fails the test."""
    tasks = [asyncio.create_task(engine.run()) for engine in engines]
    try:
        yield
    finally:
        await asyncio.gather(*(engine.drain(5.0) for engine in engines))
        await asyncio.gather(*tasks)


async def until(holds: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Wait until it holds; that it does not within `seconds` fails the test."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0.01)


async def within(seconds: float, work: Awaitable[object]) -> None:
    """It must be done in so many seconds."""
    async with asyncio.timeout(seconds):
        await work


@asynccontextmanager
async def joined(
    log: Log, topic: Topic, *, group: str = "g", member: str = "m1", listener: Quiet | None = None
) -> AsyncIterator[Reader]:
    """A reader of a group."""
    reader = await log.reader(
        [topic],
        kind="group",
        group=f"{group}-{topic.name}",
        member=member,
        listener=listener or Quiet(),
    )
    try:
        yield reader
    finally:
        await reader.close()


async def everything(log: Log, topic: Topic) -> list[Record]:
    """All records of a topic, partition by partition."""
    found = [record async for batch in reading.records(log, [topic]) for record in batch]
    return sorted(found, key=lambda record: (record.partition, record.offset))


async def dead_letters(log: Log, topic: Topic) -> list[Origin]:
    """Where each dead letter of a topic came from."""
    return [origin(record) for record in await everything(log, dead_topic(topic))]


async def parked(log: Log, topic: Topic, count: int) -> None:
    """Wait until so many dead letters of a topic are written."""
    for _ in range(300):
        if len(await dead_letters(log, topic)) >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"fewer than {count} dead letters of {topic.name}")
