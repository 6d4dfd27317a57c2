"""Our log on Kafka beside raw aiokafka, on a real broker that this script starts.

    python -m benchmarks.log_kafka [--rounds N] [--json FILE]

Both sides send and read identical bytes: same values, keys, headers and partitions, same client settings, and the same
work for a record that was read (a JSON value is decoded, a picture is left alone). Sides alternate who goes first, the
first round is thrown away, figures are medians. Reading is timed from the first record on: how long a group takes to
join is another figure (`benchmarks.takeover`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.figures import write
from benchmarks.log import CAMERAS, START, Measured, enveloped, looked, report
from schemas.event import Envelope, Topic
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from shared.bus.engine import Engine
from shared.bus.kafka import open_kafka
from shared.bus.kafka.producer import BATCH
from shared.bus.partitions import partition_of
from shared.bus.port import Batch, Message, Subscription
from shared.bus.publisher import message
from shared.clock import SystemClock
from tests.engines.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLISHERS = 4  # beside each other, as the services of a process are
GOAL = 0.7


class Load(NamedTuple):
    """What is sent: `batch` records an await, `records` in all."""

    name: str
    records: int
    batch: int
    make: Callable[[int], Envelope]


class Still:
    """A picture that is encoded already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def jpeg(self) -> bytes:
        return self._data

    def pixels(self) -> object:
        raise AssertionError("nobody looks at it here")


def detections(number: int) -> Envelope:
    """1 kB of JSON: what a detector saw in a frame."""
    return looked(number, (Detection("person", 0.8312, (12.5, 20.25, 40.125, 90.5)),) * 12)


PICTURE = Still(random.Random(1).randbytes(100_000))


def frame(number: int) -> Envelope:
    """100 kB of JPEG with its fields in the headers."""
    event = FrameCaptured(
        camera=CAMERAS[number % len(CAMERAS)],
        epoch=1,
        seq=number,
        captured_at=START + number,
        read_at=START + number,
        width=1920,
        height=1080,
        lease=1,
    )
    return msgspec.structs.replace(enveloped(event), picture=PICTURE)


LOADS = (Load("1 kB", 6_000, 20, detections), Load("100 kB", 600, 4, frame))
Side = Callable[[str, Topic, Load], Coroutine[Any, Any, float]]


def fresh_topic() -> Topic:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    return Topic(name=name, kind="durable", partitions=8, retention_hours=1, description="bench")


def messages(topic: Topic, load: Load) -> list[Message]:
    made = [message(load.make(number)) for number in range(load.records)]
    return [msgspec.structs.replace(one, topic=topic.name) for one in made]


def shares(made: Sequence[Message], load: Load) -> list[list[Sequence[Message]]]:
    """What each publisher sends, await by await; a key has one publisher."""
    dealt = [
        [m for m in made if CAMERAS.index(m.key or "") % PUBLISHERS == p] for p in range(PUBLISHERS)
    ]
    return [[own[n : n + load.batch] for n in range(0, len(own), load.batch)] for own in dealt]


async def warm(url: str, topic: Topic) -> None:
    """Make the topic and wait until each partition has taken a record: not a part of what is measured."""
    async with open_kafka(url, [topic]) as log:
        await log.append(
            [Message(topic.name, "warm", b"", partition=n) for n in range(topic.partitions)]
        )


async def ours_send(url: str, topic: Topic, load: Load) -> float:
    made = shares(messages(topic, load), load)
    await warm(url, topic)
    async with open_kafka(url, [topic]) as log:

        async def publish(batches: Sequence[Sequence[Message]]) -> None:
            for batch in batches:
                await log.append(batch)

        started = time.perf_counter()
        await asyncio.gather(*map(publish, made))
        return load.records / (time.perf_counter() - started)


async def raw_send(url: str, topic: Topic, load: Load) -> float:
    made = shares(messages(topic, load), load)
    await warm(url, topic)
    producer = AIOKafkaProducer(
        bootstrap_servers=url.removeprefix("kafka://"),
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        max_batch_size=BATCH,
    )
    await producer.start()

    async def publish(batches: Sequence[Sequence[Message]]) -> None:
        for batch in batches:
            sent = [
                await producer.send(
                    m.topic,
                    m.picture.jpeg() if m.picture is not None else m.value,
                    key=(m.key or "").encode(),
                    headers=list(m.headers),
                    partition=partition_of(m.key, topic.partitions),
                )
                for m in batch
            ]
            await asyncio.gather(*sent)

    started = time.perf_counter()
    await asyncio.gather(*map(publish, made))
    rate = load.records / (time.perf_counter() - started)
    await producer.stop()
    return rate


class Timer:
    """Records a second from the first on; the first batch is where the clock starts, so it does not count."""

    def __init__(self, load: Load) -> None:
        self.done = asyncio.Event()
        self.rate = 0.0
        self._left = load.records
        self._started = 0.0
        self._timed = 0

    def saw(self, count: int) -> None:
        self._left -= count
        if not self._started:
            self._started = time.perf_counter()
            self._timed = self._left
        if self._left <= 0:
            self.rate = self._timed / (time.perf_counter() - self._started)
            self.done.set()


async def fill(url: str, topic: Topic, load: Load) -> None:
    made = messages(topic, load)
    async with open_kafka(url, [topic]) as log:
        for first in range(0, len(made), load.batch):
            await log.append(made[first : first + load.batch])


async def ours_read(url: str, topic: Topic, load: Load) -> float:
    await fill(url, topic, load)
    timer = Timer(load)

    async def handle(batch: Batch) -> None:
        timer.saw(len(batch.envelopes))

    async with open_kafka(url, [topic]) as log:
        engine = Engine(
            log,
            Subscription(topics=(topic,), group=topic.name, handler=handle),
            service="bench",
            member="bench",
            publisher_log=log,
            clock=SystemClock(),
        )
        running = asyncio.create_task(engine.run())
        await timer.done.wait()
        await engine.drain(5.0)
        await running
    return timer.rate


async def raw_read(url: str, topic: Topic, load: Load) -> float:
    """A group, a loop over `getmany`, a decoder, and a commit after each round."""
    await fill(url, topic, load)
    timer = Timer(load)
    decoder = msgspec.json.Decoder(DetectionsMade)
    consumer = AIOKafkaConsumer(
        topic.name,
        bootstrap_servers=url.removeprefix("kafka://"),
        group_id=topic.name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    while not timer.done.is_set():
        for records in (await consumer.getmany(timeout_ms=1000, max_records=400)).values():
            if load.make is detections:
                timer.saw(len([decoder.decode(record.value) for record in records]))
            else:
                timer.saw(len(records))
        await consumer.commit()
    await consumer.stop()
    return timer.rate


def measure(name: str, sides: tuple[Side, Side], url: str, load: Load, rounds: int) -> Measured:
    """Rounds in turns; the first is to warm up."""
    measured = Measured(f"{name} {load.name}", [], [])
    for number in range(rounds + 1):
        pairs = list(zip(sides, (measured.ours, measured.bare), strict=True))
        for side, rates in pairs if number % 2 else reversed(pairs):
            rate = asyncio.run(side(url, fresh_topic(), load))
            if number:
                rates.append(rate)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    contests: list[tuple[str, tuple[Side, Side]]] = [
        ("Kafka: produce", (ours_send, raw_send)),
        ("Kafka: consume", (ours_read, raw_read)),
    ]
    results = {}
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka") as broker:
        for name, sides in contests:
            for load in LOADS:
                measured = measure(name, sides, broker.url, load, arguments.rounds)
                results[measured.name] = report(measured) | {"goal": GOAL}
    write(results, arguments.json)


if __name__ == "__main__":
    main()
