"""An idempotent producer that lost count: aiokafka's is dead for its partition, ours is replaced."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber

from schemas.event import Topic
from shared.bus.kafka import open_kafka
from shared.bus.port import Message
from shared.errors import Poison, Transient
from tests.contract.bus import everything, fact, facts, make_topic
from tests.engines.kafka import KafkaBroker, KafkaCluster

pytestmark = pytest.mark.kafka
LARGE = b"x" * 20_000


async def narrow(broker: KafkaBroker) -> Topic:
    """A topic that takes small records only."""
    topic = make_topic(partitions=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    limit = {"max.message.bytes": "5000"}
    await admin.create_topics([NewTopic(topic.name, 1, 1, topic_configs=limit)])
    await admin.close()
    return topic


async def test_aiokafkas_own_producer_never_recovers_from_a_refused_record(
    kafka_broker: KafkaBroker,
) -> None:
    """The reason for `shared/bus/kafka/producer.py`: when this fails, aiokafka has been mended."""
    topic = await narrow(kafka_broker)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka_broker.bootstrap, acks="all", enable_idempotence=True
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic.name, b"first", partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic.name, LARGE, partition=0)
        for _ in range(3):
            with pytest.raises(OutOfOrderSequenceNumber):
                await producer.send_and_wait(topic.name, b"small", partition=0)
    finally:
        await producer.stop()


async def test_a_refused_record_is_poison_and_those_after_it_pass(
    kafka_broker: KafkaBroker,
) -> None:
    topic = await narrow(kafka_broker)
    async with open_kafka(kafka_broker.url, [topic]) as log:
        await log.append([fact(topic, "gate", 0)])
        for number in range(1, 4):
            with pytest.raises(Poison, match="too large"):
                await log.append([Message(topic.name, "gate", LARGE)])
            await log.append([fact(topic, "gate", number)])
        assert len(await everything(log, topic)) == 4


async def test_those_who_send_beside_a_refused_record_try_again_and_keep_their_order(
    kafka_broker: KafkaBroker,
) -> None:
    topic = await narrow(kafka_broker)
    async with open_kafka(kafka_broker.url, [topic]) as log:

        async def says(key: str) -> None:
            for number in range(30):
                while True:
                    try:
                        await log.append([fact(topic, key, number)], timeout=5.0)
                    except Transient:
                        continue
                    break

        async def spoils() -> None:
            for _ in range(5):
                with pytest.raises((Poison, Transient)):
                    await log.append([Message(topic.name, "bad", LARGE)])
                await asyncio.sleep(0.05)

        await asyncio.gather(spoils(), *(says(f"k{n}") for n in range(8)))
        found = [dict(record.headers)["ce_id"].decode() for record in await everything(log, topic)]
    for key in (f"k{n}" for n in range(8)):
        numbers = [int(id.partition(":")[2]) for id in found if id.startswith(f"{key}:")]
        assert list(dict.fromkeys(numbers)) == list(range(30))
        assert numbers == sorted(numbers)


async def test_a_log_closes_in_bounded_time_while_its_broker_hangs(
    own_kafka_broker: KafkaBroker,
) -> None:
    topic = make_topic()
    async with open_kafka(own_kafka_broker.url, [topic]) as log:
        await log.append(facts(topic, ["gate"], range(3)))
        own_kafka_broker.freeze()
        with pytest.raises(Transient):
            await log.append([fact(topic, "gate", 3)], timeout=0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 15
    own_kafka_broker.thaw()


@pytest.mark.chaos
async def test_partitions_without_a_leader_for_longer_than_a_batch_lives(
    kafka_cluster: KafkaCluster,
) -> None:
    """Two of three brokers are away for 40 s: batches expire in aiokafka and leave a gap in their numbers."""
    topic = make_topic(partitions=6)
    keys = [f"camera-{number}" for number in range(12)]
    async with open_kafka(kafka_cluster.url, [topic]) as log:
        await log.append(facts(topic, keys, [0]))
        gone = [kafka_cluster.brokers[node] for node in (1, 2)]
        for broker in gone:
            broker.kill()
        until_then = time.monotonic() + 40
        while time.monotonic() < until_then:
            with pytest.raises(Transient):
                await log.append(facts(topic, keys, [1]), timeout=5.0)
        for broker in gone:
            await asyncio.to_thread(broker.start, wait=False)
        said: list[int] = []

        async def says() -> None:
            for number in range(2, 12):
                while True:
                    try:
                        await log.append(facts(topic, keys, [number]), timeout=5.0)
                    except Transient:
                        continue
                    said.append(number)
                    break

        await asyncio.wait_for(says(), 60)
        assert said == list(range(2, 12))
        found = {dict(r.headers)["ce_id"].decode() for r in await everything(log, topic)}
        assert {f"{key}:{number}" for key in keys for number in (0, *said)} <= found
