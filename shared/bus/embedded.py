"""The log inside one process, over any store: who reads what, fencing and wake-ups. Memory and SQLite share it.

Rebalancing is cooperative: a partition moves only after its owner finished it, between two fetches of that owner.
Membership is static: the partitions of a member that left wait `session` seconds for it to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from shared.bus.partitions import partition_of
from shared.bus.port import (
    CommitRefused,
    Fenced,
    Kind,
    Listener,
    Message,
    Offsets,
    Partition,
    Record,
)
from shared.errors import Transient
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from schemas.event import Topic

LOOK_AGAIN = 0.5  # seconds after which a waiting member looks whether another's session ended


class Store(Protocol):
    """Where records and committed offsets are kept."""

    async def append(self, placed: Sequence[tuple[Partition, Message]]) -> Sequence[int]:
        """Append in order; returns the offsets once they are as durable as their topics say."""
        ...

    async def read(self, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
        """Up to `limit` records from `offset` on."""
        ...

    def span(self, partition: Partition) -> tuple[int, int]:
        """The oldest offset kept and the one after the newest."""
        ...

    def committed(self, group: str, partition: Partition) -> int | None:
        """The next offset for this group, None when it never committed."""
        ...

    async def commit(self, group: str, offsets: Offsets) -> None:
        """Remember the next offsets of this group."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and close."""
        ...


class EmbeddedLog:
    """A `Log` for the readers and writers of one process. `session`: seconds a member that left is waited for."""

    def __init__(self, store: Store, topics: Iterable[Topic], *, session: float) -> None:
        self._store = store
        self._topics = {topic.name: topic for topic in topics}
        self._session = session
        self._groups: dict[str, Group] = {}
        self._readers: defaultdict[str, set[EmbeddedReader]] = defaultdict(set)

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """See `Log.append`."""
        placed = [(self._place(message), message) for message in messages]
        try:
            async with asyncio.timeout(timeout):
                offsets = await self._store.append(placed)
        except TimeoutError as error:
            raise Transient(f"the log did not acknowledge within {timeout} s") from error
        for topic in {message.topic for message in messages}:
            for reader in self._readers[topic]:
                reader.wake()
        return [(partition, offset) for (partition, _), offset in zip(placed, offsets, strict=True)]

    async def check(self) -> Health:
        """See `Log.check`: it is part of this process."""
        return Health(status="healthy")

    async def reader(
        self, topics: Sequence[Topic], *, kind: Kind, group: str, member: str, listener: Listener
    ) -> EmbeddedReader:
        """See `Log.reader`."""
        partitions = [Partition(topic.name, n) for topic in topics for n in range(topic.partitions)]
        joined = self._group(group) if kind == "group" else None
        reader = EmbeddedReader(
            self._store, partitions, joined, member=member, listener=listener, closed=self._forget
        )
        for topic in topics:
            self._readers[topic.name].add(reader)
        if joined is not None:
            joined.join(reader)
        else:
            reader.read_all(from_end=kind == "tail")
        return reader

    async def close(self) -> None:
        """See `Log.close`."""
        await self._store.close()

    def _group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(name, self._session))

    def _forget(self, reader: EmbeddedReader) -> None:
        for readers in self._readers.values():
            readers.discard(reader)

    def _place(self, message: Message) -> Partition:
        topic = self._topics.get(message.topic)
        if topic is None:
            raise ValueError(f"unknown topic {message.topic!r}; declare it in schemas/topics.py")
        if message.partition is not None:
            return Partition(topic.name, message.partition)
        return Partition(topic.name, partition_of(message.key, topic.partitions))


class Group:
    """The members of one group and who owns which partition."""

    def __init__(self, name: str, session: float) -> None:
        self.name = name
        self._session = session
        self._members: dict[str, EmbeddedReader] = {}
        self._left: dict[str, float] = {}
        self._owners: dict[Partition, EmbeddedReader] = {}

    def join(self, reader: EmbeddedReader) -> None:
        """Take the name's place; whoever had it before is fenced."""
        self._members[reader.member] = reader
        self._left.pop(reader.member, None)
        self.wake()

    def leave(self, reader: EmbeddedReader) -> None:
        """Not missed until the session ends."""
        if self.knows(reader):
            self._left[reader.member] = time.monotonic()

    def knows(self, reader: EmbeddedReader) -> bool:
        """Whether this reader still holds its member's name."""
        return self._members.get(reader.member) is reader

    def owns(self, reader: EmbeddedReader, partition: Partition) -> bool:
        """Whether the partition is this reader's."""
        return self._owners.get(partition) is reader

    def share(self, reader: EmbeddedReader) -> set[Partition]:
        """What the reader should own: each topic's partitions dealt round to the members that read it."""
        self._forget_expired()
        mine: set[Partition] = set()
        for topic in {partition.topic for partition in reader.partitions}:
            dealt = [p for p in reader.partitions if p.topic == topic]
            readers = sorted(
                n for n, other in self._members.items() if dealt[0] in other.partitions
            )
            place = readers.index(reader.member)
            mine.update(p for p in dealt if p.number % len(readers) == place)
        return mine

    def claim(self, reader: EmbeddedReader, wanted: Iterable[Partition]) -> list[Partition]:
        """Take those of `wanted` that nobody holds."""
        free = [p for p in sorted(wanted) if self._free(p, reader)]
        self._owners.update(dict.fromkeys(free, reader))
        return free

    def release(self, partitions: Iterable[Partition]) -> None:
        """Give partitions up and tell the others."""
        for partition in partitions:
            self._owners.pop(partition, None)
        self.wake()

    def wake(self) -> None:
        """Let every member look at its share again."""
        for reader in self._members.values():
            reader.wake()

    def _free(self, partition: Partition, reader: EmbeddedReader) -> bool:
        owner = self._owners.get(partition)
        return owner is None or owner.member == reader.member or not self.knows(owner)

    def _forget_expired(self) -> None:
        now = time.monotonic()
        for name in [name for name, left in self._left.items() if now - left > self._session]:
            del self._left[name]
            del self._members[name]


class EmbeddedReader:
    """A `Reader` of one member. `group` None: it owns all partitions and commits nothing."""

    def __init__(
        self,
        store: Store,
        partitions: Sequence[Partition],
        group: Group | None = None,
        *,
        member: str,
        listener: Listener,
        closed: Callable[[EmbeddedReader], None],
    ) -> None:
        self.member = member
        self.partitions = tuple(partitions)
        self._store = store
        self._group = group
        self._listener = listener
        self._closed = closed
        self._next: dict[Partition, int] = {}  # the partitions it owns, and where it reads on
        self._turns: defaultdict[Partition, int] = defaultdict(int)
        self._paused: set[Partition] = set()
        self._news = asyncio.Event()

    async def fetch(
        self, *, max_records: int, timeout: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """See `Reader.fetch`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._news.clear()
            await self._settle()
            found = await self._collect(max_records)
            left = deadline - loop.time()
            if found or left <= 0:
                return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN)):
                    await self._news.wait()

    async def commit(self, offsets: Offsets) -> None:
        """See `Reader.commit`."""
        lost = [p for p in offsets if self._group is None or not self._group.owns(self, p)]
        if self._group is None or lost:
            raise CommitRefused(f"{self.member} does not own {lost}")
        await self._store.commit(self._group.name, offsets)

    async def seek(self, partition: Partition, offset: int) -> None:
        """See `Reader.seek`."""
        self._next[partition] = max(offset, self._store.span(partition)[0])
        self._turns[partition] += 1
        self.wake()

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.pause`."""
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Reader.resume`."""
        self._paused.difference_update(partitions)
        self.wake()

    async def ends(self) -> Offsets:
        """See `Reader.ends`."""
        return {partition: self._store.span(partition)[1] for partition in self._next}

    async def positions(self) -> Offsets:
        """See `Reader.positions`."""
        return dict(self._next)

    @property
    def joined(self) -> bool:
        """See `Reader.joined`: every fetch settles what is ours."""
        return True

    async def close(self) -> None:
        """See `Reader.close`."""
        if self._group is not None:
            self._group.leave(self)
        self._closed(self)

    def wake(self) -> None:
        """There may be something to fetch, or another share to take."""
        self._news.set()

    def read_all(self, *, from_end: bool) -> None:
        """Own every partition, without a group."""
        spans = {partition: self._store.span(partition) for partition in self.partitions}
        self._next = {partition: span[1 if from_end else 0] for partition, span in spans.items()}

    async def _settle(self) -> None:
        group = self._group
        if group is None:
            return
        if not group.knows(self):
            raise Fenced(f"another process joined {group.name} as {self.member}")
        share = group.share(self)
        lost = sorted(set(self._next) - share)
        if lost:
            await self._listener.revoked(lost)
            self._give_up(group, lost)
        gained = group.claim(self, share - set(self._next))
        if gained:
            for partition in gained:
                start = self._store.committed(group.name, partition)
                self._next[partition] = max(start or 0, self._store.span(partition)[0])
                self._turns[partition] += 1
            await self._listener.assigned(gained)

    def _give_up(self, group: Group, lost: Sequence[Partition]) -> None:
        for partition in lost:
            del self._next[partition]
            self._turns[partition] += 1
        self._paused.difference_update(lost)
        group.release(lost)

    async def _collect(self, limit: int) -> dict[Partition, Sequence[Record]]:
        """Read ahead first, then move the positions in one go: a seek or a loss meanwhile voids what was read."""
        read: list[tuple[Partition, int, int, Sequence[Record]]] = []
        for partition, position in list(self._next.items()):
            end = self._store.span(partition)[1]
            if partition in self._paused or position >= end or limit <= 0:
                continue
            turn = self._turns[partition]
            records = await self._store.read(partition, position, limit)
            limit -= len(records)
            read.append((partition, turn, records[-1].offset + 1 if records else end, records))
        found: dict[Partition, Sequence[Record]] = {}
        for partition, turn, after, records in read:
            if self._turns[partition] == turn and partition not in self._paused:
                self._take_turn(partition, after)
                if records:
                    found[partition] = records
        return found

    def _take_turn(self, partition: Partition, after: int) -> None:
        """Go on after this batch, and to the back of the queue: no partition starves the others."""
        del self._next[partition]
        self._next[partition] = after
