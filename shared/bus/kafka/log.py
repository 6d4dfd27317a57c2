"""The `Log` on Kafka: sends wait for all in-sync replicas, are idempotent and have a deadline of our own.

Nothing is committed by a clock; reading begins at the earliest record; members are static.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from schemas.topics import TOPICS
from shared.bus.dead_letters import with_dead
from shared.bus.kafka.access import Access, servers
from shared.bus.kafka.producer import Producer
from shared.bus.kafka.reader import KafkaReader
from shared.bus.kafka.refusals import refusals
from shared.bus.kafka.topics import KafkaTopics, ensure, open_topics
from shared.bus.partitions import partition_of
from shared.bus.port import Kind, Listener, Message, Partition
from shared.errors import Setup, Transient
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from schemas.event import Topic
    from shared.bus.topics import Difference

REBALANCE = 30.0  # seconds a rebalance waits for members to finish their work
LOOK = 2.0  # seconds in which a broker must answer a check
SESSION = 6.0  # seconds; a takeover must be over before rules give up a camera (10 s), and brokers allow no less
HEARTBEATS = 10  # in a session; by them a member hears of a rebalance
AGAIN = 60.0  # seconds between two looks at topics that differed
log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_kafka(
    url: str,
    topics: Iterable[Topic] = TOPICS,
    *,
    session: float = SESSION,
    access: Access | None = None,
    replication: int | None = None,
) -> AsyncIterator[KafkaLog]:
    """The log at `kafka://host:port[,host:port]`; topics that are missing are created.

    `session`: seconds of silence after which a member's partitions go to the others.

    Raises:
        Setup: no broker can be used as it is set up, or a topic has another number of partitions.
    """
    access, known = access or Access(), tuple(topics)

    def there() -> AbstractAsyncContextManager[KafkaTopics]:
        return open_topics(url, known, access=access, replication=replication)

    differing = Differing(there)
    await differing.start()
    clients = {"bootstrap_servers": servers(url), **access.options()}
    producer = Producer(servers(url), access.options())
    async with AsyncExitStack() as stack:
        opened = KafkaLog(
            known,
            producer,
            _consumers(clients, session),
            differing,
            session=session,
        )
        stack.push_async_callback(opened.close)
        await producer.open()
        yield opened


def _consumers(
    clients: Mapping[str, Any], session: float
) -> Callable[[str | None, str | None], AIOKafkaConsumer]:
    def make(group: str | None, member: str | None) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            group_id=group,
            group_instance_id=member,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=round(session * 1000),
            heartbeat_interval_ms=round(session * 1000 / HEARTBEATS),
            rebalance_timeout_ms=round(REBALANCE * 1000),
            **clients,
        )

    return make


class Differing:
    """What differs among the topics; looked at again now and then, until an operator has put it right."""

    def __init__(self, there: Callable[[], AbstractAsyncContextManager[KafkaTopics]]) -> None:
        self.found: Sequence[Difference] = ()
        self._there = there
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Create what is missing and say what else differs.

        Raises:
            Setup: see `ensure`.
        """
        async with self._there() as topics:
            self.found = await ensure(topics)
        self._looked = time.monotonic()
        for one in self.found:
            log.warning("topic_differs", difference=str(one), remedy="vantage topics plan")

    def refresh(self) -> None:
        """Look again in the background, if something differed the last time and that is a while ago."""
        due = self.found and time.monotonic() - self._looked > AGAIN
        if due and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._refresh())

    async def end(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _refresh(self) -> None:
        self._looked = time.monotonic()
        try:
            async with self._there() as topics:
                self.found = await topics.plan()
        except Setup as error:
            log.info("topics_not_looked_at", reason=str(error))


class KafkaLog:
    """A `Log` over one producer; each reader has a consumer of its own."""

    def __init__(
        self,
        topics: Iterable[Topic],
        producer: Producer,
        consumers: Callable[[str | None, str | None], AIOKafkaConsumer],
        differing: Differing,
        *,
        session: float,
    ) -> None:
        self._partitions = {topic.name: topic.partitions for topic in with_dead(topics)}
        self._producer = producer
        self._consumers = consumers
        self._differing = differing
        self._session = session

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """See `Log.append`."""
        placed = [(message, self._place(message)) for message in messages]
        with refusals(f"Kafka did not acknowledge within {timeout} s"):
            async with asyncio.timeout(timeout):
                answers = await self._producer.send(placed)
        return [(Partition(a.topic, a.partition), a.offset) for a in answers]

    async def reader(
        self, topics: Sequence[Topic], *, kind: Kind, group: str, member: str, listener: Listener
    ) -> KafkaReader:
        """See `Log.reader`."""
        grouped = kind == "group"
        consumer = self._consumers(group if grouped else None, member if grouped else None)
        reader = KafkaReader(consumer)
        with refusals("Kafka does not answer"):
            async with AsyncExitStack() as undo:
                undo.push_async_callback(reader.close)
                await consumer.start()
                if not consumer._client.cluster.brokers():
                    # A broker that comes back names none at first, and aiokafka would die of that in the background.
                    raise Transient("Kafka names no broker yet")
                if grouped:
                    reader.join(topics, listener, name=member, session=self._session)
                else:
                    await reader.read_all(topics, from_end=kind == "tail")
                undo.pop_all()
        return reader

    async def check(self) -> Health:
        """See `Log.check`: degraded while no broker answers (the outboxes hold what is said) or topics differ."""
        self._differing.refresh()
        try:
            async with asyncio.timeout(LOOK):
                await self._producer.answers()
        except (TimeoutError, KafkaError) as error:
            return Health(status="degraded", reason=f"Kafka does not answer: {error!r}")
        if self._differing.found:
            reason = "topics differ from what they should be; see `vantage topics plan`"
            details = {"topics": [str(one) for one in self._differing.found]}
            return Health(status="degraded", reason=reason, details=details)
        return Health(status="healthy")

    async def close(self) -> None:
        """See `Log.close`."""
        await self._differing.end()
        await self._producer.close()

    def _place(self, message: Message) -> int:
        partitions = self._partitions.get(message.topic)
        if partitions is None:
            raise ValueError(f"unknown topic {message.topic!r}; declare it in schemas/topics.py")
        if message.partition is not None:
            return message.partition
        return partition_of(message.key, partitions)
