"""The log on Apache Kafka, by aiokafka with none of its defaults: nobody else builds a client.

Sends wait for all in-sync replicas, are idempotent and have a deadline of our own (aiokafka's never expire). Nothing is
committed by a clock; reading begins at the earliest record; members are static. Rebalancing is eager in aiokafka: every
rebalance revokes all partitions of a member and assigns them again.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)

from schemas.topics import TOPICS
from shared.bus.dead_letters import with_dead
from shared.bus.partitions import partition_of
from shared.bus.port import CommitRefused, Kind, Listener, Message, Offsets, Partition, Record
from shared.errors import Poison, Setup, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from schemas.event import Topic

REQUEST = 15.0  # seconds that one request may take
ANSWER = 5.0  # seconds in which a commit or a look at the ends must be answered
LEAVE = 2.0  # seconds for an orderly end of a consumer
REBALANCE = 30.0  # seconds a rebalance waits for members to finish their work
EPHEMERAL = {"retention.ms": "60000", "segment.ms": "30000"}


@asynccontextmanager
async def open_kafka(
    url: str, topics: Iterable[Topic] = TOPICS, *, session: float = 10.0
) -> AsyncIterator[KafkaLog]:
    """The log at `kafka://host:port[,host:port]`; topics that are missing are created.

    `session`: seconds of silence after which a member's partitions go to the others.

    Raises:
        Setup: no broker answers.
    """
    servers = url.removeprefix("kafka://").strip("/")
    known = {topic.name: topic for topic in with_dead(topics)}
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        request_timeout_ms=_ms(REQUEST),
    )
    try:
        await ensure_topics(servers, known.values())
        await producer.start()
    except Setup:
        await producer.stop()
        raise
    except KafkaError as error:
        await producer.stop()
        raise Setup(
            f"no Kafka broker answers at {servers}: {error}; check VANTAGE_BUS_URL"
        ) from error
    log = KafkaLog(servers, known, producer, session=session)
    try:
        yield log
    finally:
        await log.close()


async def ensure_topics(servers: str, topics: Iterable[Topic]) -> None:
    """Create the topics that are missing, with their partitions, retention and clean-up.

    Raises:
        Setup: a topic is there with another number of partitions: its keys would change their places.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=_ms(REQUEST))
    try:
        await admin.start()
        there = wanted.keys() & set(await admin.list_topics())
        for about in await admin.describe_topics(list(there)) if there else ():
            _same_partitions(wanted[about["topic"]], len(about["partitions"]))
        brokers = len((await admin.describe_cluster())["brokers"])
        missing = [_new(wanted[name], brokers) for name in wanted.keys() - there]
        answer = await admin.create_topics(missing) if missing else None
        for name, code, *_ in answer.topic_errors if answer else ():
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(name)
    finally:
        await admin.close()


def _same_partitions(topic: Topic, count: int) -> None:
    if count != topic.partitions:
        raise Setup(
            f"the Kafka topic {topic.name!r} has {count} partitions, schemas/topics.py says"
            f" {topic.partitions}; move its records to a topic that has them"
        )


class KafkaLog:
    """A `Log` over one producer; each reader has a consumer of its own."""

    def __init__(
        self,
        servers: str,
        topics: Mapping[str, Topic],
        producer: AIOKafkaProducer,
        *,
        session: float,
    ) -> None:
        self._servers = servers
        self._topics = topics
        self._producer = producer
        self._session = session

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """See `Log.append`."""
        placed = [(message, self._place(message)) for message in messages]
        sent: list[asyncio.Future[Any]] = []
        with _refusals(f"Kafka did not acknowledge within {timeout} s"):
            async with asyncio.timeout(timeout):
                for message, number in placed:
                    sent.append(await self._send(message, number))
                answers = await asyncio.gather(*sent)
        return [(Partition(a.topic, a.partition), a.offset) for a in answers]

    async def reader(
        self, topics: Sequence[Topic], *, kind: Kind, group: str, member: str, listener: Listener
    ) -> KafkaReader:
        """See `Log.reader`."""
        consumer = self._consumer(group, member) if kind == "group" else self._consumer(None, None)
        reader = KafkaReader(consumer)
        with _refusals("Kafka does not answer"):
            async with AsyncExitStack() as undo:
                undo.push_async_callback(consumer.stop)
                await consumer.start()
                if kind == "group":
                    names = [topic.name for topic in topics]
                    consumer.subscribe(names, listener=_Bridge(listener))
                else:
                    await reader.read_all(topics, from_end=kind == "tail")
                undo.pop_all()
        return reader

    async def close(self) -> None:
        """See `Log.close`."""
        await self._producer.stop()

    def _place(self, message: Message) -> int:
        topic = self._topics.get(message.topic)
        if topic is None:
            raise ValueError(f"unknown topic {message.topic!r}; declare it in schemas/topics.py")
        if message.partition is not None:
            return message.partition
        return partition_of(message.key, topic.partitions)

    async def _send(self, message: Message, number: int) -> asyncio.Future[Any]:
        value = message.value
        if message.picture is not None:
            value = await asyncio.to_thread(message.picture.jpeg)
        # A record with neither is none of ours, but its dead letter must be written: aiokafka wants a key then.
        missing = b"" if value is None else None
        key = missing if message.key is None else message.key.encode()
        sent: asyncio.Future[Any] = await self._producer.send(
            message.topic, value, key=key, partition=number, headers=list(message.headers)
        )
        return sent

    def _consumer(self, group: str | None, member: str | None) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=group,
            group_instance_id=member,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=_ms(self._session),
            heartbeat_interval_ms=_ms(self._session / 4),
            rebalance_timeout_ms=_ms(REBALANCE),
            request_timeout_ms=_ms(REQUEST),
        )


class KafkaReader:
    """A `Reader` over one consumer."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def fetch(
        self, *, max_records: int, timeout: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """See `Reader.fetch`.

        Nothing is awaited after `getmany`: what it returns is of the assignment and positions of this moment.
        """
        with _refusals("Kafka does not answer"):
            found = await self._consumer.getmany(timeout_ms=_ms(timeout), max_records=max_records)
        return {
            Partition(*place): [_record(m) for m in messages] for place, messages in found.items()
        }

    async def commit(self, offsets: Offsets) -> None:
        """See `Reader.commit`."""
        try:
            with _refusals("the commit was not answered in time"):
                async with asyncio.timeout(ANSWER):
                    await self._consumer.commit({_place(p): next_ for p, next_ in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            raise CommitRefused(str(error)) from error

    async def seek(self, partition: Partition, offset: int) -> None:
        """See `Reader.seek`; a partition that was lost meanwhile is left alone."""
        if _place(partition) in self._consumer.assignment():
            self._consumer.seek(_place(partition), offset)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.pause`."""
        self._consumer.pause(*self._ours(partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.resume`."""
        self._consumer.resume(*self._ours(partitions))

    async def ends(self) -> Offsets:
        """See `Reader.ends`."""
        ours = self._consumer.assignment()
        with _refusals("Kafka does not answer"):
            async with asyncio.timeout(ANSWER):
                ends = await self._consumer.end_offsets(ours) if ours else {}
        return {Partition(*place): end for place, end in ends.items()}

    async def positions(self) -> Offsets:
        """See `Reader.positions`."""
        found: dict[Partition, int] = {}
        with _refusals("Kafka does not answer"):
            async with asyncio.timeout(ANSWER):
                for place in self._consumer.assignment():
                    found[Partition(*place)] = await self._consumer.position(place)
        return found

    async def close(self) -> None:
        """See `Reader.close`. A rebalance that waits for a dead member does not hold us up."""
        try:
            async with asyncio.timeout(LEAVE):
                await self._consumer.stop()
        except TimeoutError:
            # The time-out has ended its coordination; `stop` thinks it is done and has closed no connection yet.
            self._consumer._closed = False
            await self._consumer.stop()

    async def read_all(self, topics: Iterable[Topic], *, from_end: bool) -> None:
        """Own every partition, without a group."""
        places = [TopicPartition(t.name, number) for t in topics for number in range(t.partitions)]
        self._consumer.assign(places)
        if from_end:
            await self._consumer.seek_to_end(*places)
        else:
            await self._consumer.seek_to_beginning(*places)

    def _ours(self, partitions: Sequence[Partition]) -> list[TopicPartition]:
        assigned = self._consumer.assignment()
        return [place for place in map(_place, partitions) if place in assigned]


class _Bridge(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """aiokafka's listener as ours. It calls with an empty set at the first join."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group rebalances: all partitions of this member go."""
        await self._listener.revoked(sorted(Partition(*place) for place in revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """It has rebalanced."""
        await self._listener.assigned(sorted(Partition(*place) for place in assigned))


@contextmanager
def _refusals(reason: str) -> Iterator[None]:
    """What may pass on another try is Transient; what is the caller's to know keeps its class."""
    try:
        yield
    except (CommitFailedError, IllegalStateError):
        raise
    except MessageSizeTooLargeError as error:
        raise Poison(f"the record is too large for Kafka: {error}") from error
    except (TimeoutError, KafkaError) as error:
        raise Transient(f"{reason}: {error!r}") from error


def _new(topic: Topic, brokers: int) -> NewTopic:
    return NewTopic(
        topic.name, topic.partitions, min(3, brokers), topic_configs=_config(topic, brokers)
    )


def _config(topic: Topic, brokers: int) -> dict[str, str]:
    config = {"min.insync.replicas": "2" if brokers >= 3 else "1"}
    if topic.kind == "compacted":
        return config | {"cleanup.policy": "compact"}
    if topic.kind == "ephemeral":
        return config | EPHEMERAL
    return config | {"retention.ms": str((topic.retention_hours or 24 * 365) * 3_600_000)}


def _place(partition: Partition) -> TopicPartition:
    return TopicPartition(*partition)


def _record(message: ConsumerRecord) -> Record:
    return Record(
        partition=Partition(message.topic, message.partition),
        offset=message.offset,
        key=None if message.key is None else message.key.decode(errors="replace"),
        value=message.value,
        headers=tuple(message.headers),
        timestamp=message.timestamp * 1000,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
