"""Topics on a real broker: made, compared, put right, and never where a key would move."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from schemas.event import Topic
from services.main import app
from shared.bus.kafka import open_kafka, open_topics
from shared.errors import Setup
from tests.contract.bus import facts, make_topic
from tests.engines.kafka import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
async def admin(kafka_broker: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    """An operator's hands on the broker."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await client.start()
    yield client
    await client.close()


async def config(admin: AIOKafkaAdminClient, topic: Topic) -> Mapping[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    [(*_, entries)] = answer.resources
    return {entry[0]: entry[1] for entry in entries}


async def make(admin: AIOKafkaAdminClient, topic: Topic, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    await admin.create_topics([NewTopic(topic.name, topic.partitions, 1, topic_configs=named)])
    while topic.name not in await admin.list_topics():  # noqa: ASYNC110 -- the broker rings no bell
        await asyncio.sleep(0.02)


async def test_topics_are_made_with_their_retention_and_clean_up(
    kafka_broker: KafkaBroker, admin: AIOKafkaAdminClient
) -> None:
    durable, table, frames = (
        make_topic(),
        make_topic("compacted", partitions=1),
        make_topic("ephemeral"),
    )
    for _ in range(2):
        async with open_kafka(kafka_broker.url, [durable, table, frames]):
            pass
    assert (await config(admin, durable))["retention.ms"] == "3600000"
    assert (await config(admin, table))["cleanup.policy"] == "compact"
    assert (await config(admin, frames))["retention.ms"] == "60000"


async def test_plan_names_what_differs_and_apply_puts_it_right(
    kafka_broker: KafkaBroker, admin: AIOKafkaAdminClient
) -> None:
    topic = make_topic()
    await make(admin, topic, retention_ms="1000", cleanup_policy="compact", flush_messages="7")
    async with open_topics(kafka_broker.url, [topic]) as topics:
        found = await topics.plan()
        assert {one.what for one in found if one.topic == topic.name} == {
            "retention.ms",
            "cleanup.policy",
        }
        assert [one.how for one in found if one.topic == topic.dead] == ["create"]
        await topics.apply(found)
        assert await topics.plan() == []
    after = await config(admin, topic)
    assert (after["retention.ms"], after["cleanup.policy"]) == ("3600000", "delete")
    assert after["flush.messages"] == "7", "what an operator has set beside ours stays"


async def test_a_topic_with_other_partitions_is_refused_and_left_alone(
    kafka_broker: KafkaBroker, admin: AIOKafkaAdminClient
) -> None:
    topic = make_topic(partitions=3)
    await make(admin, topic)
    for partitions in (2, 4):
        other = msgspec.structs.replace(topic, partitions=partitions)
        with pytest.raises(Setup, match=r"partitions is 3, wanted .* keys another place"):
            async with open_kafka(kafka_broker.url, [other]):
                pass
        async with open_topics(kafka_broker.url, [other]) as topics:
            await topics.apply(await topics.plan())
            assert "partitions" in {one.what for one in await topics.plan()}
    [about] = await admin.describe_topics([topic.name])
    assert len(about["partitions"]) == 3


async def test_a_log_on_topics_that_differ_works_and_says_so(
    kafka_broker: KafkaBroker, admin: AIOKafkaAdminClient
) -> None:
    topic = make_topic()
    await make(admin, topic, retention_ms="1000")
    async with open_kafka(kafka_broker.url, [topic]) as log:
        await log.append(facts(topic, ["gate"], range(3)))
        health = await log.check()
        assert health.status == "degraded"
        assert "vantage topics plan" in health.reason
        assert any("retention.ms is 1000" in line for line in health.details["topics"])
    async with open_topics(kafka_broker.url, [topic]) as topics:
        await topics.apply(await topics.plan())
    async with open_kafka(kafka_broker.url, [topic]) as log:
        assert (await log.check()).status == "healthy"


async def test_more_copies_than_brokers_are_refused(kafka_broker: KafkaBroker) -> None:
    with pytest.raises(Setup, match="VANTAGE_KAFKA_REPLICATION=3, but 1 brokers answer"):
        async with open_kafka(kafka_broker.url, [make_topic()], replication=3):
            pass


def test_the_command_plans_applies_and_has_nothing_left_to_do(
    own_kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTAGE_BUS_URL", own_kafka_broker.url)
    run = CliRunner()
    planned = run.invoke(app, ["topics", "plan"])
    assert planned.exit_code == 3, planned.output
    assert "incidents.dead" in planned.output
    applied = run.invoke(app, ["topics", "apply"])
    assert applied.exit_code == 0, applied.output
    assert "frames: topic missing -> 8 partitions, 1 replicas" in applied.output
    again = run.invoke(app, ["topics", "plan"])
    assert (again.exit_code, again.output.strip()) == (0, "All topics are as they should be.")
    own_kafka_broker.kill()
    gone = run.invoke(app, ["topics", "plan"])
    assert gone.exit_code == 2
    assert "nobody answers" in gone.output


def test_the_command_without_kafka_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTAGE_BUS_URL", "sqlite://")
    answer = CliRunner().invoke(app, ["topics", "plan"])
    assert answer.exit_code == 2
    assert "set VANTAGE_BUS_URL=kafka://" in answer.output
