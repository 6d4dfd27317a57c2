"""Reading topics as they lie on the log, without a group: for tools of operators. Nothing is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from schemas.event import Topic
    from shared.bus.port import Log, Offsets, Partition, Reader, Record

AT_ONCE = 200
WAIT_S = 0.2


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
