"""Our Kafka adapter and engine beside raw aiokafka, on a real broker that this script starts.

    python -m benchmarks.log_kafka [--rounds N] [--json FILE]

Same producer settings on both sides (all replicas, idempotent, 2 ms linger); both sides decode what they read.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.log import BATCH, Measured, events, report, write
from schemas.event import Topic
from schemas.events.detections_made import DetectionsMade
from shared.bus.engine import Engine
from shared.bus.kafka import open_kafka
from shared.bus.partitions import partition_of
from shared.bus.port import Batch, Subscription
from shared.clock import SystemClock
from tests.engines.kafka import KafkaBroker

if TYPE_CHECKING:
    from shared.bus.port import Message

COUNT = 4_000
Side = Callable[[str, Topic], Coroutine[Any, Any, float]]


def fresh_topic() -> Topic:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    return Topic(name=name, kind="durable", partitions=8, retention_hours=1, description="bench")


def on(topic: Topic) -> list[Message]:
    return [msgspec.structs.replace(event, topic=topic.name) for event in events(COUNT)]


async def ours_send(servers: str, topic: Topic) -> float:
    messages = on(topic)
    async with open_kafka(servers, [topic]) as log:
        started = time.perf_counter()
        for first in range(0, COUNT, BATCH):
            await log.append(messages[first : first + BATCH])
        return COUNT / (time.perf_counter() - started)


async def raw_send(servers: str, topic: Topic) -> float:
    messages = on(topic)
    async with open_kafka(servers, [topic]):
        pass
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=2
    )
    await producer.start()
    started = time.perf_counter()
    for first in range(0, COUNT, BATCH):
        sent = [
            await producer.send(
                topic.name,
                m.value,
                key=(m.key or "").encode(),
                headers=list(m.headers),
                partition=partition_of(m.key, topic.partitions),
            )
            for m in messages[first : first + BATCH]
        ]
        await asyncio.gather(*sent)
    rate = COUNT / (time.perf_counter() - started)
    await producer.stop()
    return rate


async def ours_read(servers: str, topic: Topic) -> float:
    await ours_send(servers, topic)
    seen, done = [0], asyncio.Event()

    async def handle(batch: Batch) -> None:
        seen[0] += len(batch.envelopes)
        if seen[0] >= COUNT:
            done.set()

    async with open_kafka(servers, [topic]) as log:
        subscription = Subscription(topics=(topic,), group=topic.name, handler=handle)
        engine = Engine(
            log,
            subscription,
            service="bench",
            member="bench",
            publisher_log=log,
            clock=SystemClock(),
        )
        started = time.perf_counter()
        running = asyncio.create_task(engine.run())
        await done.wait()
        rate = COUNT / (time.perf_counter() - started)
        await engine.drain(5.0)
        await running
    return rate


async def raw_read(servers: str, topic: Topic) -> float:
    """A group, a loop over `getmany`, a decoder, and a commit after each round."""
    await ours_send(servers, topic)
    decoder = msgspec.json.Decoder(DetectionsMade)
    consumer = AIOKafkaConsumer(
        topic.name,
        bootstrap_servers=servers,
        group_id=topic.name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    started, seen = time.perf_counter(), 0
    await consumer.start()
    while seen < COUNT:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=400)).values():
            seen += len([decoder.decode(record.value) for record in records])
        await consumer.commit()
    rate = COUNT / (time.perf_counter() - started)
    await consumer.stop()
    return rate


def measure(name: str, ours: Side, raw: Side, servers: str, rounds: int) -> Measured:
    measured = Measured(name, [], [])
    for number in range(rounds):
        sides = [(ours, measured.ours), (raw, measured.bare)]
        for side, rates in sides if number % 2 else reversed(sides):
            rates.append(asyncio.run(side(servers, fresh_topic())))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(Path(folder) / "kafka")
        broker.start()
        try:
            contests = [
                measure(
                    "Kafka: 20 events an await",
                    ours_send,
                    raw_send,
                    broker.bootstrap,
                    arguments.rounds,
                ),
                measure(
                    "Kafka: group reads all, join included",
                    ours_read,
                    raw_read,
                    broker.bootstrap,
                    arguments.rounds,
                ),
            ]
        finally:
            broker.stop()
    write({contest.name: report(contest) for contest in contests}, arguments.json)


if __name__ == "__main__":
    main()
