"""Reading topics as they lie on the log, without a group: for tools of operators. Nothing is committed."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from schemas.event import Topic
    from shared.bus.port import Log, Offsets, Partition, Reader, Record

AT_ONCE = 200
WAIT_S = 0.2
AHEAD = 1_000  # records of a partition that wait for others; then it is not read on until its turn


class Nobody:
    """A listener that minds nothing: partitions neither come nor go."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.assigned`."""

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.revoked`."""


async def records(
    log: Log, topics: Sequence[Topic], *, since: Offsets | None = None
) -> AsyncIterator[Sequence[Record]]:
    """What is on the topics now, in batches of one partition, each partition in order; then it ends.

    since: offsets to begin at, for the partitions that it names; the others begin at their oldest record.

    Raises:
        shared.errors.Transient: the log is away.
    """
    reader = await _opened(log, topics)
    try:
        ends = await reader.ends()
        for partition, offset in (since or {}).items():
            await reader.seek(partition, offset)
        while await _behind(reader, ends):
            found = await reader.fetch(max_records=AT_ONCE, timeout=WAIT_S)
            for partition, batch in found.items():
                known = [one for one in batch if one.offset < ends[partition]]
                if known:
                    yield known
    finally:
        await reader.close()


async def in_order(
    log: Log, topic: Topic, *, since: Offsets | None = None
) -> AsyncIterator[Record]:
    """What is on a topic now, over all its partitions in the order of the append; then it ends.

    A partition keeps its own order also where its times go back. since: as for `records`.

    Raises:
        shared.errors.Transient: the log is away.
    """
    reader = await _opened(log, [topic])
    try:
        ends = await reader.ends()
        for partition, offset in (since or {}).items():
            await reader.seek(partition, offset)
        lines = _Lines(ends)
        paused: set[Partition] = set()
        lines.add({}, await reader.positions())
        while True:
            for record in lines.known():
                yield record
            if not lines.awaited:
                return
            reader.resume(sorted(paused & lines.awaited))
            full = lines.full() - paused
            reader.pause(sorted(full))
            paused = (paused | full) - lines.awaited
            found = await reader.fetch(max_records=AT_ONCE, timeout=WAIT_S)
            lines.add(found, await reader.positions())
    finally:
        await reader.close()


async def spans(log: Log, topics: Sequence[Topic]) -> dict[Partition, tuple[int, int]]:
    """The oldest offset kept of each partition and the one after its newest record.

    Raises:
        shared.errors.Transient: the log is away.
    """
    reader = await _opened(log, topics)
    try:
        starts, ends = await reader.positions(), await reader.ends()
        return {partition: (starts[partition], end) for partition, end in ends.items()}
    finally:
        await reader.close()


async def first_at(log: Log, topic: Topic, at: int) -> dict[Partition, int]:
    """In each partition the offset of the first record that was appended at `at` (microseconds) or later.

    The end, where there is none. Found by halving: appended times of one partition do not go back by much.

    Raises:
        shared.errors.Transient: the log is away.
    """
    reader = await _opened(log, [topic])
    try:
        starts, ends = await reader.positions(), await reader.ends()
        reader.pause(list(ends))
        found = {}
        for partition, end in ends.items():
            reader.resume([partition])
            found[partition] = await _halved(reader, partition, (starts[partition], end), at)
            reader.pause([partition])
        return found
    finally:
        await reader.close()


class _Lines:
    """Records of several partitions that wait for their turn. `awaited`: partitions whose next one is not known."""

    def __init__(self, ends: Offsets) -> None:
        self._ends = ends
        self._lines: dict[Partition, deque[Record]] = {partition: deque() for partition in ends}
        self._heads: list[tuple[int, Partition]] = []
        self._behind: set[Partition] = set()
        self.awaited: set[Partition] = set()

    def add(self, found: Mapping[Partition, Sequence[Record]], positions: Offsets) -> None:
        """Take in what was read; `positions` say where reading goes on."""
        for partition, batch in found.items():
            line = self._lines[partition]
            empty = not line
            line += [one for one in batch if one.offset < self._ends[partition]]
            if empty and line:
                heapq.heappush(self._heads, (line[0].timestamp, partition))
        self._behind = {p for p, end in self._ends.items() if positions[p] < end}
        self.awaited = {partition for partition in self._behind if not self._lines[partition]}

    def known(self) -> Iterator[Record]:
        """The next records, as far as it is known that no other partition has an earlier one."""
        while self._heads and not self.awaited:
            _, partition = self._heads[0]
            line = self._lines[partition]
            yield line.popleft()
            if line:
                heapq.heapreplace(self._heads, (line[0].timestamp, partition))
                continue
            heapq.heappop(self._heads)
            if partition in self._behind:
                self.awaited.add(partition)

    def full(self) -> set[Partition]:
        """Partitions that are far ahead of the others."""
        return {partition for partition, line in self._lines.items() if len(line) >= AHEAD}


async def _halved(reader: Reader, partition: Partition, span: tuple[int, int], at: int) -> int:
    low, high = span
    while low < high:
        middle = (low + high) // 2
        record = await _next(reader, partition, middle, high)
        if record is None or record.timestamp >= at:
            high = middle
        else:
            low = record.offset + 1
    return low


async def _next(reader: Reader, partition: Partition, offset: int, end: int) -> Record | None:
    """The first record that is kept from `offset` on, None where there is none below `end`."""
    await reader.seek(partition, offset)
    while (await reader.positions())[partition] < end:
        found = await reader.fetch(max_records=1, timeout=WAIT_S)
        for record in found.get(partition, ()):
            return record if record.offset < end else None
    return None


async def _behind(reader: Reader, ends: Offsets) -> bool:
    positions = await reader.positions()
    return any(positions[partition] < end for partition, end in ends.items())


async def _opened(log: Log, topics: Sequence[Topic]) -> Reader:
    return await log.reader(topics, kind="table", group="", member="tool", listener=Nobody())
