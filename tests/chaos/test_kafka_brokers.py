"""Three brokers, one of them killed, frozen or away under load: what was acknowledged is there, once, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.event import Topic
from shared.bus.kafka import open_kafka
from shared.bus.kafka.log import KafkaLog
from tests.chaos.rig import Rig
from tests.chaos.turns import FAULTS, TIMES
from tests.chaos.worker import topics
from tests.engines.kafka import KafkaBroker, KafkaCluster

pytestmark = pytest.mark.kafka
DRAIN = 60.0  # seconds after which the backlog must be handled


class Load:
    """Stimuli at some hundred a second, two workers on them, and a cluster to be hurt meanwhile."""

    def __init__(self, rig: Rig, cluster: KafkaCluster, log: KafkaLog) -> None:
        self.rig = rig
        self.cluster = cluster
        self._log = log

    async def leader(self) -> KafkaBroker:
        """The broker that leads the first partition of the stimuli now."""
        stimuli = topics(self.rig.prefix)[0]
        return self.cluster.brokers[await leads(self._log, stimuli)]


async def leads(log: KafkaLog, topic: Topic) -> int:
    """The id of the broker that leads partition 0."""
    producer = await log._producer._sound()
    metadata = await producer.client.fetch_all_metadata()
    return int(
        next(p.leader for p in metadata._partitions[topic.name].values() if p.partition == 0)
    )


@asynccontextmanager
async def under_load(cluster: KafkaCluster, folder: Path) -> AsyncIterator[Load]:
    """Hurt it inside the block; after it everything acknowledged must be there, once and in order."""
    rig = Rig(cluster.url, folder, None)
    async with (
        open_kafka(cluster.url, topics(rig.prefix)) as log,
        rig.driven(log, "a", "b", drain=DRAIN),
    ):
        load = Load(rig, cluster, log)
        await load.rig.goes_on()
        yield load
        await load.rig.goes_on()


@pytest.mark.row("R4x")
async def test_a_leader_is_killed_and_another_broker_freezes(
    kafka_cluster: KafkaCluster, tmp_path: Path
) -> None:
    async with under_load(kafka_cluster, tmp_path) as load:
        killed = await load.leader()
        killed.kill()
        await load.rig.goes_on()
        await asyncio.to_thread(killed.start)
        await load.rig.goes_on()
        frozen = await load.leader()
        frozen.freeze()
        await asyncio.sleep(4)
        frozen.thaw()


@pytest.mark.row("R4x", inside=True)
@pytest.mark.chaos
async def test_the_leader_is_killed_again_and_again(
    kafka_cluster: KafkaCluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTS, TIMES)
    async with under_load(kafka_cluster, tmp_path) as load:
        for _ in range(TIMES):
            leader = await load.leader()
            leader.kill()
            await load.rig.goes_on()
            await asyncio.to_thread(leader.start)
            await load.rig.goes_on()


@pytest.mark.row("R4x", "R5")
@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [20, 60])
async def test_r5_the_leader_freezes(
    kafka_cluster: KafkaCluster, tmp_path: Path, seconds: float
) -> None:
    async with under_load(kafka_cluster, tmp_path) as load:
        leader = await load.leader()
        leader.freeze()
        await asyncio.sleep(seconds)
        leader.thaw()


@pytest.mark.row("R4x")
@pytest.mark.chaos
async def test_one_broker_is_away_for_a_minute(kafka_cluster: KafkaCluster, tmp_path: Path) -> None:
    async with under_load(kafka_cluster, tmp_path) as load:
        leader = await load.leader()
        leader.stop()
        await asyncio.sleep(60)
        await load.rig.goes_on()
        await asyncio.to_thread(leader.start)
