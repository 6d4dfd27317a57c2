"""What the Kafka adapter promises on a broker of its own: topics, deadlines, a broker that goes and comes back."""

import asyncio

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.bus.kafka import ensure_topics, open_kafka
from shared.errors import Setup, Transient
from tests.contract.bus import (
    Seen,
    fact,
    facts,
    make_engine,
    make_topic,
    running,
    subscribe,
    until,
)
from tests.engines.kafka import KafkaBroker
from tests.engines.processes import free_port

pytestmark = pytest.mark.kafka


async def test_topics_are_made_with_their_retention_and_clean_up(kafka_broker: KafkaBroker) -> None:
    durable, table, frames = (
        make_topic(),
        make_topic("compacted", partitions=1),
        make_topic("ephemeral"),
    )
    await ensure_topics(kafka_broker.bootstrap, [durable, table, frames])
    await ensure_topics(kafka_broker.bootstrap, [durable, table, frames])
    assert await config(kafka_broker, durable.name, "retention.ms") == "3600000"
    assert await config(kafka_broker, table.name, "cleanup.policy") == "compact"
    assert await config(kafka_broker, frames.name, "retention.ms") == "60000"


async def config(broker: KafkaBroker, topic: str, name: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await admin.describe_configs([asked])
        [(*_, entries)] = answer.resources
        return next(str(entry[1]) for entry in entries if entry[0] == name)
    finally:
        await admin.close()


async def test_a_topic_with_other_partitions_is_refused(kafka_broker: KafkaBroker) -> None:
    topic = make_topic(partitions=3)
    await ensure_topics(kafka_broker.bootstrap, [topic])
    other = msgspec.structs.replace(topic, partitions=4)
    with pytest.raises(Setup, match="has 3 partitions"):
        async with open_kafka(kafka_broker.url, [other]):
            pass


async def test_no_broker_is_a_clear_error() -> None:
    with pytest.raises(Setup, match=r"no Kafka broker answers at .* VANTAGE_BUS_URL"):
        async with open_kafka(f"kafka://127.0.0.1:{free_port()}", [make_topic()]):
            pass


async def test_a_broker_that_freezes_and_one_that_is_killed_lose_nothing(
    own_kafka_broker: KafkaBroker,
) -> None:
    topic, seen = make_topic(), Seen()
    async with (
        open_kafka(own_kafka_broker.url, [topic], session=6.0) as log,
        running(make_engine(log, subscribe(topic, seen))),
    ):
        await log.append(facts(topic, ["gate"], range(5)))
        own_kafka_broker.freeze()
        with pytest.raises(Transient, match="did not acknowledge"):
            await log.append([fact(topic, "gate", 5)], timeout=1.0)
        own_kafka_broker.thaw()
        await log.append(facts(topic, ["gate"], range(6, 9)))
        await until(lambda: set(seen.of("gate")) >= {0, 1, 2, 3, 4, 6, 7, 8})
        await asyncio.to_thread(own_kafka_broker.restart)
        await log.append(facts(topic, ["gate"], range(9, 20)), timeout=30.0)
        await until(lambda: set(seen.of("gate")) >= {*range(5), *range(6, 20)}, seconds=40)
