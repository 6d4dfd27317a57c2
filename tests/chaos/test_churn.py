"""Members that come and go all the time (R7): nothing lost, nothing twice, no key out of order."""

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from schemas.event import Topic
from shared.bus.kafka import open_kafka
from shared.bus.memory import open_memory
from shared.bus.port import Batch, Log, Partition
from shared.bus.sqlite import open_sqlite
from tests.contract.bus import (
    OpenLog,
    facts,
    make_engine,
    make_topic,
    running,
    subscribe,
    until,
)

if TYPE_CHECKING:
    from shared.bus.engine import Engine
    from tests.engines.kafka import KafkaBroker

KEYS = [f"camera-{number}" for number in range(20)]


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.chaos]),
    ]
)
def open_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OpenLog:
    """Opens the log under test; a short session, since members leave without a word."""
    if request.param == "memory":
        return OpenLog(0.3, lambda topics, session: open_memory(topics, session=session))
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("log")
        return OpenLog(0.3, lambda topics, session: open_sqlite(folder, topics, session=session))
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")
    return OpenLog(3.0, lambda topics, session: open_kafka(broker.url, topics, session=session))


class Crowd:
    """Members of one group that are started, drained and cut off at random."""

    def __init__(self, log: Log, topic: Topic, chance: random.Random) -> None:
        self.ids: list[str] = []
        self._log = log
        self._topic = topic
        self._chance = chance
        self._members: dict[str, tuple[Engine, asyncio.Task[None]]] = {}
        self._working: set[Partition] = set()

    async def handle(self, batch: Batch) -> None:
        """No partition is ever in two hands."""
        assert batch.partition not in self._working
        self._working.add(batch.partition)
        try:
            await asyncio.sleep(self._chance.random() * 0.01)
            self.ids.extend(envelope.id for envelope in batch.envelopes)
        finally:
            self._working.discard(batch.partition)

    async def change(self) -> None:
        """One member comes or goes."""
        name = f"m{self._chance.randint(0, 4)}"
        if name not in self._members:
            subscription = subscribe(
                self._topic, self.handle, max_batch=self._chance.randint(1, 20)
            )
            engine = make_engine(self._log, subscription, member=name)
            self._members[name] = (engine, asyncio.create_task(engine.run()))
        else:
            await self._end(name, cut_off=self._chance.random() < 0.5)

    async def disperse(self) -> None:
        """All go."""
        for name in list(self._members):
            await self._end(name, cut_off=False)

    async def _end(self, name: str, *, cut_off: bool) -> None:
        engine, task = self._members.pop(name)
        if cut_off:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await engine.drain(2.0)
            await task


@pytest.mark.row("R7")
async def test_r7_members_that_come_and_go(open_log: OpenLog, chance: random.Random) -> None:
    topic = make_topic(partitions=6)
    until_then = time.monotonic() + 4.0 + 5 * open_log.session
    said = 0
    async with open_log([topic]) as log:
        crowd = Crowd(log, topic, chance)
        while time.monotonic() < until_then:
            await crowd.change()
            for _ in range(chance.randint(1, 30)):
                await log.append(facts(topic, KEYS, [said]))
                said += 1
                await asyncio.sleep(0.005)
        await crowd.disperse()
        async with running(make_engine(log, subscribe(topic, crowd.handle), member="last")):
            await until(lambda: len(set(crowd.ids)) == said * len(KEYS), seconds=60)
    assert not [id for id, times in Counter(crowd.ids).items() if times > 1]
    for key in KEYS:
        assert [id for id in crowd.ids if id.startswith(f"{key}:")] == [
            f"{key}:{number}" for number in range(said)
        ]
