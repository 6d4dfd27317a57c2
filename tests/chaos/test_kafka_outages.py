"""The only broker killed or frozen: every consumer goes on by itself or is restarted, sends end at their deadline.

A client of aiokafka was seen alive and consuming nothing after a broker's restart (its issues 712 and 1154); here each
consumer must show a record that was said after the broker is back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from schemas.event import Topic
from shared.bus.engine import Engine
from shared.bus.kafka import open_kafka
from shared.bus.port import Kind, Log, Subscription
from shared.clock import SystemClock
from shared.errors import Transient
from shared.metrics import Metrics
from shared.runtime.consumers import Consumer, watch
from shared.supervisor import Supervisor
from tests.chaos.turns import FAULTS, TIMES
from tests.contract.bus import Seen, fact, facts, make_engine, make_topic, until
from tests.engines.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
PROGRESS = 30.0  # seconds from the broker's return to progress of every consumer
KINDS: tuple[Kind, ...] = ("group", "group", "group", "table", "tail")
MEGABYTE = 1024 * 1024


class Crew:
    """Consumers of every kind under the supervisor and its watchdog, as a process of ours has them."""

    def __init__(self, log: Log, topic: Topic) -> None:
        self.seen: dict[str, Seen] = {}
        self.metrics = Metrics()
        self._log = log
        self._topic = topic
        self._said = 0
        self._supervisor = Supervisor(SystemClock(), self.metrics.task_restarts)
        self._consumers: dict[str, Consumer] = {}
        for number, kind in enumerate(KINDS):
            self._add(f"{kind}-{number}", kind)

    async def start(self) -> None:
        """All run, and the groups have their partitions."""
        for name, consumer in self._consumers.items():
            self._supervisor.start(name, consumer.run)
        self._supervisor.start("watchdog", lambda: watch(self._consumers, self._supervisor))
        await until(lambda: all(one.caught_up for one in self._consumers.values()), seconds=60)

    async def stop(self) -> None:
        """As a process drains."""
        await asyncio.gather(*(one.drain(3.0) for one in self._consumers.values()))
        await self._supervisor.stop(patience=30)  # a busy machine

    async def progresses(self, *, seconds: float) -> float:
        """Say facts until every consumer has come to one of them; it must within so many seconds. Answers how many it took.

        A tail that is restarted reads from then on: it need not see the first.
        """
        first, began = self._said, time.monotonic()
        while behind := self._behind(first):
            assert time.monotonic() - began < seconds, f"no progress within {seconds} s: {behind}"
            with contextlib.suppress(Transient):
                await self._log.append([fact(self._topic, "gate", self._said)], timeout=5.0)
            self._said += 1
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    def _behind(self, first: int) -> list[str]:
        """Who has seen none from this one on."""
        return [
            name for name, seen in self.seen.items() if max(seen.of("gate"), default=-1) < first
        ]

    def _add(self, name: str, kind: Kind) -> None:
        seen = self.seen[name] = Seen()
        subscription = Subscription(
            topics=(self._topic,),
            handler=seen,
            group=f"{name}-{self._topic.name}",
            kind=kind,
            options={"stuck": 20.0},
        )

        def make() -> Engine:
            return make_engine(self._log, subscription, member=name)

        self._consumers[name] = Consumer(name, subscription, make, SystemClock())


@asynccontextmanager
async def at_work(broker: KafkaBroker) -> AsyncIterator[tuple[Log, Topic, Crew]]:
    """A crew that has shown that it works."""
    topic = make_topic("compacted", partitions=3)
    async with open_kafka(broker.url, [topic], session=6.0) as log:
        crew = Crew(log, topic)
        await crew.start()
        try:
            await crew.progresses(seconds=60)
            yield log, topic, crew
        finally:
            await crew.stop()


@pytest.mark.row("R4", inside=True)
@pytest.mark.parametrize(
    ("cycles", "away"), [(1, 1.0), pytest.param(TIMES, 15.0, marks=pytest.mark.chaos)]
)
async def test_r4_the_broker_is_killed_and_comes_back(
    own_kafka_broker: KafkaBroker,
    cycles: int,
    away: float,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, cycles)
    async with at_work(own_kafka_broker) as (_, _, crew):
        for _ in range(cycles):
            own_kafka_broker.kill()
            await asyncio.sleep(away)
            await asyncio.to_thread(own_kafka_broker.start)
            record_property("back_s", round(await crew.progresses(seconds=PROGRESS), 1))


@pytest.mark.row("R5")
@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [20.0, 60.0])
async def test_r5_the_broker_hangs(
    own_kafka_broker: KafkaBroker,
    seconds: float,
    record_property: Callable[[str, object], None],
) -> None:
    deadline = 5.0
    async with at_work(own_kafka_broker) as (log, topic, crew):
        before = psutil.Process().memory_info().rss
        own_kafka_broker.freeze()
        until_then = time.monotonic() + seconds
        late: list[float] = []

        async def insist(key: str) -> None:
            """A publisher that never gives up, with large records."""
            number = 1000
            while time.monotonic() < until_then:
                started = time.monotonic()
                with pytest.raises(Transient, match="did not acknowledge"):
                    await log.append(
                        facts(topic, [key], range(number, number + 200)), timeout=deadline
                    )
                late.append(time.monotonic() - started)

        await asyncio.gather(*(insist(f"key-{n}") for n in range(20)))
        grown = psutil.Process().memory_info().rss - before
        own_kafka_broker.thaw()
        record_property("thawed_s", round(await crew.progresses(seconds=60), 1))
    assert max(late) < deadline + 5, "a send outlived its deadline"
    assert grown < 100 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB more while nothing could be sent"
