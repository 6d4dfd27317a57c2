"""One consumer of aiokafka as a `Reader`. Rebalancing is eager there: all partitions of a member go and come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CommitFailedError, IllegalStateError

from shared.bus.kafka.refusals import refusals
from shared.bus.port import CommitRefused, Fenced, Listener, Offsets, Partition, Record
from shared.errors import Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from schemas.event import Topic

ANSWER = 5.0  # seconds in which a commit or a look at the ends must be answered
REFUSED = 5  # times in a short while that a group refuses our member id: another has our name
UNNAMED = (
    "UnknownError"  # aiokafka's name for what it does not know, FENCED_INSTANCE_ID (82) among it
)
LEAVE = 2.0  # seconds for an orderly end of a consumer, and again for one by force
CANCELS = 20  # times that its tasks are cancelled then: aiokafka takes some for its own
log = structlog.get_logger(__name__)


class KafkaReader:
    """A `Reader` over one consumer."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._bridge: Bridge | None = None
        self._name = ""
        self._topics: list[str] = []

    async def fetch(
        self, *, max_records: int, timeout: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """See `Reader.fetch`.

        Nothing is awaited after `getmany`: what it returns is of the assignment and positions of this moment.
        """
        if self._bridge is not None and self._bridge.fenced:
            raise Fenced(
                f"another process joins as {self._name} again and again;"
                " give each process a VANTAGE_INSTANCE of its own"
            )
        cluster = self._consumer._client.cluster
        if not all(map(cluster.partitions_for_topic, self._topics)):
            # A broker that has just come back names no partitions, and who leads the group then gives none to anybody:
            # aiokafka divides them anew when it hears of them, and it would ask in five minutes.
            self._consumer._client.force_metadata_update()
        try:
            with refusals("Kafka does not answer"):
                found = await self._consumer.getmany(
                    timeout_ms=round(timeout * 1000), max_records=max_records
                )
        except Transient as error:
            if self._over:
                raise Unavailable(f"this member of the group has ended: {error}") from error
            if self._bridge is not None and UNNAMED in str(error):
                self._bridge.refuse()
            raise
        return {place: _records(place, messages) for place, messages in _places(found)}

    async def commit(self, offsets: Offsets) -> None:
        """See `Reader.commit`."""
        try:
            with refusals("the commit was not answered in time"):
                async with asyncio.timeout(ANSWER):
                    await self._consumer.commit({_place(p): next_ for p, next_ in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            raise CommitRefused(str(error)) from error

    async def seek(self, partition: Partition, offset: int) -> None:
        """See `Reader.seek`; a partition that was lost meanwhile is left alone."""
        if _place(partition) in self._consumer.assignment():
            self._consumer.seek(_place(partition), offset)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.pause`."""
        self._consumer.pause(*self._ours(partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.resume`."""
        self._consumer.resume(*self._ours(partitions))

    async def ends(self) -> Offsets:
        """See `Reader.ends`."""
        ours = self._consumer.assignment()
        with refusals("Kafka does not answer"):
            async with asyncio.timeout(ANSWER):
                ends = await self._consumer.end_offsets(ours) if ours else {}
        return {Partition(*place): end for place, end in ends.items()}

    async def positions(self) -> Offsets:
        """See `Reader.positions`."""
        found: dict[Partition, int] = {}
        with refusals("Kafka does not answer"):
            async with asyncio.timeout(ANSWER):
                for place in self._consumer.assignment():
                    found[Partition(*place)] = await self._consumer.position(place)
        return found

    @property
    def joined(self) -> bool:
        """See `Reader.joined`."""
        return self._bridge is None or self._bridge.joined

    async def close(self) -> None:
        """See `Reader.close`. Neither a rebalance that waits for a dead member nor a broker that hangs holds us up."""
        stopping = asyncio.create_task(self._consumer.stop())
        try:
            await asyncio.wait([stopping], timeout=LEAVE)
        finally:
            if not stopping.done() or stopping.cancelled() or stopping.exception():
                await self._cut_off(stopping)

    def join(
        self, topics: Iterable[Topic], listener: Listener, *, name: str, session: float
    ) -> None:
        """Share the partitions with the other members of the group, under a name that is ours alone."""
        self._name, self._topics = name, [topic.name for topic in topics]
        coordinator = self._consumer._coordinator
        self._bridge = Bridge(listener, lambda: not coordinator.member_id, session)
        self._consumer.subscribe(self._topics, listener=self._bridge)

    async def read_all(self, topics: Iterable[Topic], *, from_end: bool) -> None:
        """Own every partition, without a group."""
        places = [TopicPartition(t.name, number) for t in topics for number in range(t.partitions)]
        self._consumer.assign(places)
        if from_end:
            await self._consumer.seek_to_end(*places)
        else:
            await self._consumer.seek_to_beginning(*places)

    async def _cut_off(self, stopping: asyncio.Task[None]) -> None:
        """End what an interrupted `stop` has left at work; a second one would think that all is done.

        Connections last: what still works would open them anew, and aiokafka starts tasks while it ends.
        """
        log.info("consumer_cut_off", reason=_why(stopping))
        client = self._consumer._client
        for _ in range(CANCELS):
            if not (alive := [one for one in (stopping, *self._tasks()) if not one.done()]):
                break
            for one in alive:
                one.cancel()
            await asyncio.wait(alive, timeout=LEAVE / CANCELS)
        self._consumer._closed = True  # `stop` may not have come to begin
        client._sync_task = None  # it has ended, perhaps by an error that `close` would raise
        await client.close()

    def _tasks(self) -> Iterable[asyncio.Task[object]]:
        """What works in the background for this consumer."""
        coordinator, fetcher = self._consumer._coordinator, self._consumer._fetcher
        names = (
            "_coordination_task",
            "_heartbeat_task",
            "_commit_refresh_task",
            "_reset_committed_task",
        )
        found = [getattr(coordinator, name, None) for name in names]
        if fetcher is not None:
            found += [fetcher._fetch_task, *fetcher._pending_tasks]
        return [one for one in (*found, self._consumer._client._sync_task) if one is not None]

    @property
    def _over(self) -> bool:
        """Whether aiokafka's own work for us has ended: it never begins again."""
        coordinator = self._consumer._coordinator
        return isinstance(coordinator, GroupCoordinator) and coordinator._coordination_task.done()

    def _ours(self, partitions: Sequence[Partition]) -> list[TopicPartition]:
        assigned = self._consumer.assignment()
        return [place for place in map(_place, partitions) if place in assigned]


class Bridge(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """aiokafka's listener as ours. It calls with an empty set at the first join.

    `unknown` says whether the group has just refused our member id. That happens to a process that slept past its
    session, once; again and again it happens where two processes have one name, and take it from each other.
    """

    def __init__(self, listener: Listener, unknown: Callable[[], bool], session: float) -> None:
        self._listener = listener
        self._unknown = unknown
        self._window = max(30.0, 3 * session)
        self._refused: deque[float] = deque(maxlen=REFUSED)
        self.joined = False

    @property
    def fenced(self) -> bool:
        """Whether another process has our name."""
        often = len(self._refused) == REFUSED
        return often and self._refused[-1] - self._refused[0] < self._window

    def refuse(self) -> None:
        """The group has refused us."""
        self._refused.append(time.monotonic())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group rebalances: all partitions of this member go."""
        if self.joined and self._unknown():
            self.refuse()
        self.joined = False
        await self._listener.revoked(sorted(Partition(*place) for place in revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """It has rebalanced."""
        await self._listener.assigned(sorted(Partition(*place) for place in assigned))
        self.joined = True


def _places(
    found: Mapping[TopicPartition, Sequence[ConsumerRecord]],
) -> Iterable[tuple[Partition, Sequence[ConsumerRecord]]]:
    return ((Partition(*place), messages) for place, messages in found.items())


def _records(place: Partition, messages: Sequence[ConsumerRecord]) -> Sequence[Record]:
    """Positional arguments: this runs for every record that is read."""
    return [
        Record(
            place,
            m.offset,
            None if m.key is None else m.key.decode(errors="replace"),
            m.value,
            tuple(m.headers),
            m.timestamp * 1000,
        )
        for m in messages
    ]


def _why(stopping: asyncio.Task[None]) -> str:
    """Why it did not come to its end."""
    if not stopping.done():
        return f"not over within {LEAVE} s"
    return "cancelled" if stopping.cancelled() else repr(stopping.exception())


def _place(partition: Partition) -> TopicPartition:
    return TopicPartition(*partition)
