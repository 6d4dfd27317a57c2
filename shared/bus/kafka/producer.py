"""The one idempotent producer of a process, and a new one where the old can send no more.

aiokafka numbers the records of each partition and counts on when a batch fails, whatever the reason: refused by the
broker, expired without a leader. The broker never forgives the gap (OutOfOrderSequenceNumber), so such a producer is
dead for that partition for ever. It is replaced, and never by one beside it: what waits in the old one must not be
sent after what the new one sends, or a compacted topic would end on a stale document.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
)

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.structs import RecordMetadata

    from shared.bus.port import Message

LINGER = 0.002  # seconds that a record waits for others to go with
BATCH = (
    256 * 1024
)  # bytes of one partition that go in one request; aiokafka's 16 kB are one picture at a time
FLUSH = 2.0  # seconds for what still waits when the log is closed
START = 20.0  # seconds for a producer to get its number from a broker
log = structlog.get_logger(__name__)


class Producer:
    """Sends through the producer at hand. Made inside the loop that it belongs to."""

    def __init__(self, servers: str, options: dict[str, Any]) -> None:
        self._options = {
            "bootstrap_servers": servers,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": round(LINGER * 1000),
            "max_batch_size": BATCH,
            **options,
        }
        self._current: AIOKafkaProducer | None = None
        self._old: AIOKafkaProducer | None = None
        self._renewal: asyncio.Task[AIOKafkaProducer] | None = None
        self._closed = False
        # aiokafka wakes all who wait for room in a partition's batch and lets them race. Here one waits, the others
        # queue behind it: in order, at a cost that does not grow with their square, and within their own deadline.
        self._doors: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        """Start the first one.

        Raises:
            Setup: no broker gives it a number.
        """
        try:
            await self._sound()
        except (KafkaError, TimeoutError) as error:
            raise Setup(
                f"Kafka gives us no producer id: {error!r}; give this login IdempotentWrite on the"
                " cluster, or see whether the brokers run and have room on their disks"
            ) from error

    async def send(self, placed: Sequence[tuple[Message, int]]) -> Sequence[RecordMetadata]:
        """Send all, in order; returns where each is once all in-sync replicas have them.

        Raises:
            KafkaError: one was not acknowledged; it may or may not be there.
        """
        producer = self._current or await self._sound()
        sent: list[asyncio.Future[RecordMetadata]] = []
        values = await _values(placed)
        try:
            for (message, number), value in zip(placed, values, strict=True):
                key = _key(message, value)
                headers = list(message.headers)
                async with self._doors[message.topic, number]:
                    future = await producer.send(message.topic, value, key, number, headers=headers)
                sent.append(future)
            return await asyncio.gather(*sent)
        except KafkaError as error:
            broken = _broken(producer, sent)
            if broken:
                self._condemn(producer, error)
            if broken and isinstance(error, MessageSizeTooLargeError):
                return [
                    await self._alone(message, number, value)
                    for (message, number), value in zip(placed, values, strict=True)
                ]
            raise

    async def _alone(self, message: Message, number: int, value: bytes | None) -> RecordMetadata:
        """Send one record in a batch of its own.

        A batch is refused as a whole: those that went with a record that is too large may not suffer for it.
        """
        producer = self._current or await self._sound()
        key = None if message.key is None else message.key.encode()
        batch = producer.create_batch()
        batch.append(timestamp=None, key=key, value=value, headers=list(message.headers))
        batch.close()
        try:
            async with self._doors[message.topic, number]:
                future = await producer.send_batch(batch, message.topic, partition=number)
            return await future
        except KafkaError as error:
            self._condemn(producer, error)
            raise

    async def answers(self) -> None:
        """Return when a broker answers.

        Raises:
            KafkaError: none does.
        """
        producer = self._current or await self._sound()
        await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        """Send what waits as long as that takes no more than a moment, and leave."""
        self._closed = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if self._current is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._current.flush(), FLUSH)
        for producer in (self._current, self._old):
            if producer is not None:
                await _end(producer)
        self._current = self._old = None

    async def _sound(self) -> AIOKafkaProducer:
        """The producer at hand. Making one goes on when who waits for it gives up."""
        if self._closed:
            raise ProducerClosed
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._renewal)

    async def _renew(self) -> AIOKafkaProducer:
        if self._old is not None:
            await _end(self._old)
            self._old = None
        if self._current is None:
            self._current = await _start(AIOKafkaProducer(**self._options))
        return self._current

    def _condemn(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        """Nothing more goes through it; whoever sends next waits for another."""
        if producer is self._current and not self._closed:
            log.warning("producer_replaced", reason=repr(error))
            self._old, self._current = producer, None
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())


async def _values(placed: Sequence[tuple[Message, int]]) -> Sequence[bytes | None]:
    """The bytes of each message; pictures are encoded in a thread, which is entered once."""
    if any(message.picture is not None for message, _ in placed):
        return await asyncio.to_thread(lambda: [_value(message) for message, _ in placed])
    return [message.value for message, _ in placed]


def _value(message: Message) -> bytes | None:
    return message.value if message.picture is None else message.picture.jpeg()


async def _start(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    async with AsyncExitStack() as undo:
        undo.push_async_callback(_end, producer)
        async with asyncio.timeout(START):  # aiokafka asks for its number until it gets one
            await producer.start()
        undo.pop_all()
    return producer


def _key(message: Message, value: bytes | None) -> bytes | None:
    """A record with neither key nor value is none of ours, but its dead letter must be written: aiokafka wants one."""
    if message.key is not None:
        return message.key.encode()
    return b"" if value is None else None


def _broken(producer: AIOKafkaProducer, sent: Sequence[asyncio.Future[RecordMetadata]]) -> bool:
    """Whether a batch failed that had its numbers, or the task that sends is over."""
    failed = any(one.done() and not one.cancelled() and one.exception() for one in sent)
    sender = producer._sender.sender_task
    return failed or sender is None or sender.done()


async def _end(producer: AIOKafkaProducer) -> None:
    """End a producer and send nothing more. Requests on their way are waited for, for as long as one may take.

    aiokafka's own `stop` first sends everything that waits, for ever if no broker answers.
    """
    try:
        async with asyncio.timeout(FLUSH):
            await producer._sender.close()
    except (TimeoutError, KafkaError) as error:
        log.info("producer_cut_off", reason=repr(error))
    gone = KafkaConnectionError("the producer was replaced")
    accumulator = producer._message_accumulator
    waiting = {one for batches in accumulator._batches.values() for one in batches}
    for batch in waiting | accumulator._pending_batches:
        futures = [one for one, _ in batch._msg_futures] or [batch.future]
        for future in futures:
            if not future.done():
                future.set_exception(gone)
                future.exception()  # whoever still waits for it gets it; nobody need to
    producer._closed = True
    await producer.client.close()
