"""What the Kafka adapter promises on a broker of its own: topics, deadlines, a broker that goes and comes back."""

import asyncio
import contextlib

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka import open_kafka
from shared.bus.kafka.reader import KafkaReader
from shared.bus.port import Fenced, Reader
from shared.errors import Setup, Transient, Unavailable
from tests.contract.bus import (
    Seen,
    fact,
    facts,
    joined,
    make_engine,
    make_topic,
    running,
    subscribe,
    until,
    within,
)
from tests.engines.kafka import KafkaBroker
from tests.engines.processes import free_port

pytestmark = pytest.mark.kafka


async def test_no_broker_is_a_clear_error() -> None:
    with pytest.raises(Setup, match=r"no Kafka broker can be used .*nobody answers"):
        async with open_kafka(f"kafka://127.0.0.1:{free_port()}", [make_topic()]):
            pass


async def test_two_processes_of_one_name_are_told(kafka_broker: KafkaBroker) -> None:
    """Kafka lets them take the name from each other for ever, and both work: nothing is wrong but the speed."""
    topic = make_topic()
    async with (
        open_kafka(kafka_broker.url, [topic], session=2.0) as log,
        open_kafka(kafka_broker.url, [topic], session=2.0) as other,
        joined(log, topic, member="main") as first,
        joined(other, topic, member="main") as second,
    ):

        async def reads(reader: Reader) -> None:
            while True:
                with contextlib.suppress(Transient):  # as the engine does
                    await reader.fetch(max_records=10, timeout=0.1)

        with pytest.raises(Fenced, match=r"as main again and again.*VANTAGE_INSTANCE of its own"):
            await within(60, asyncio.gather(reads(first), reads(second)))


async def test_a_member_that_leaves_a_frozen_broker_leaves_nothing_at_work(
    own_kafka_broker: KafkaBroker,
) -> None:
    """Its heartbeat would go on for ever, ten times a second, over a client that is closed."""
    topic = make_topic()
    async with open_kafka(own_kafka_broker.url, [topic], session=2.0) as log:
        async with joined(log, topic) as reader:
            assert isinstance(reader, KafkaReader)
            await until(lambda: reader.joined)
            own_kafka_broker.freeze()
            reader._consumer._coordinator.coordinator_dead()  # as after 15 s without an answer
            await asyncio.sleep(1.0)
        assert not [name for name in names_of_tasks() if "Coordinator" in name]
        own_kafka_broker.thaw()


def names_of_tasks() -> list[str]:
    return [repr(task.get_coro()) for task in asyncio.all_tasks()]


async def test_a_member_whose_work_ended_in_the_background_is_over(
    kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's coordination dies of what it did not expect; what is read after that would be nothing, for ever."""
    topic = make_topic()
    async with (
        open_kafka(kafka_broker.url, [topic]) as log,
        joined(log, topic) as reader,
    ):
        assert isinstance(reader, KafkaReader)
        await until(lambda: reader.joined)
        consumer = reader._consumer
        monkeypatch.setattr(consumer._client, "coordinator_lookup", dying)
        consumer._coordinator.coordinator_dead()
        with pytest.raises(Unavailable, match=r"has ended: .*did not expect that"):
            await within(10, fetch_on(reader))


async def test_a_member_that_knows_no_partitions_asks_for_them_at_once(
    kafka_broker: KafkaBroker,
) -> None:
    """A broker that has just come back names none; whoever leads then divides nothing, and all would stand still."""
    topic = make_topic()
    async with open_kafka(kafka_broker.url, [topic]) as log, joined(log, topic) as reader:
        assert isinstance(reader, KafkaReader)
        await until(lambda: reader.joined)
        cluster = reader._consumer._client.cluster
        cluster._partitions.pop(topic.name)
        await reader.fetch(max_records=10, timeout=0.1)
        await until(lambda: cluster.partitions_for_topic(topic.name), seconds=20)


async def test_a_member_whose_broker_is_gone_closes_its_connections(
    kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's `stop` is cancelled by its own fetch that waits to try again, and leaves the rest open."""
    topic = make_topic()
    async with open_kafka(kafka_broker.url, [topic]) as log:
        async with joined(log, topic) as reader:
            assert isinstance(reader, KafkaReader)
            await until(lambda: reader.joined)
            client, fetcher = reader._consumer._client, reader._consumer._fetcher
            await log.append([fact(topic, "gate", 0)])
            await until_read(reader)
            monkeypatch.setattr(fetcher, "_retry_backoff", 60.0)
            monkeypatch.setattr(client, "send", gone)
            await reader.fetch(max_records=10, timeout=1.0)
            connections = list(client._conns.values())
        assert connections
        assert not [one for one in connections if one.connected()]


async def until_read(reader: Reader) -> None:
    while not await reader.fetch(max_records=10, timeout=0.1):
        pass


async def gone(*_: object, **__: object) -> None:
    raise KafkaConnectionError("the broker is gone")


async def dying(*_: object) -> None:
    raise AssertionError("did not expect that")


async def fetch_on(reader: Reader) -> None:
    while True:
        await reader.fetch(max_records=10, timeout=0.1)


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
