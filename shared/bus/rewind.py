"""Going back: a group reads again from an earlier offset. Fenced by membership, so nobody else's partition moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from shared.bus.port import Partition
from shared.bus.reading import first_at
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Topic
    from shared.bus.port import Log, Offsets, Reader, Subscription

JOIN_S = 25.0  # seconds in which a group has settled who owns what
LOOK_S = 0.2


class Move(NamedTuple):
    """A partition of ours: where it would be read next, and where it is read next now."""

    partition: Partition
    before: int
    after: int


class _Joined:
    """Remembers what this member was given; nothing of it is fetched."""

    def __init__(self) -> None:
        self.partitions: list[Partition] | None = None
        self.reader: Reader | None = None

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """These are ours."""
        if self.reader is not None:
            self.reader.pause(partitions)
        self.partitions = [*(self.partitions or ()), *partitions]

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """These no longer are."""
        self.partitions = [one for one in self.partitions or () if one not in partitions]


def check_rewind(subscription: Subscription, topic: str | None) -> list[Topic]:
    """The topics of a subscription that are to be read again.

    Raises:
        Invalid: going back would do harm or nothing; the text says why and what to do instead.
    """
    group = subscription.group
    topics = [one for one in subscription.topics if topic in (None, one.name)]
    if not topics:
        names = ", ".join(one.name for one in subscription.topics)
        raise Invalid(f"topic: {group} does not read {topic!r}; it reads {names}", field="topic")
    if subscription.kind != "group":
        raise Invalid(f"group: {group} keeps no offsets, it reads all again at every start")
    if subscription.positions is not None:
        raise Invalid(
            f"group: {group} keeps its state with the offset it is true for: read again, events would count "
            "twice in it. `vantage replay --recompute --out DIR` runs the same stages into files instead"
        )
    for one in topics:
        if one.kind == "ephemeral":
            raise Invalid(f"topic: {one.name} is ephemeral: what was dropped cannot be read again")
    return topics


async def targets(log: Log, topics: Sequence[Topic], *, offset: int, at: int | None) -> Offsets:
    """The offset in each partition: that of the first record at a time, else `offset` itself."""
    found: dict[Partition, int] = {}
    for topic in topics:
        if at is not None:
            found |= await first_at(log, topic, at)
        else:
            found |= {Partition(topic.name, number): offset for number in range(topic.partitions)}
    return found


async def rewind(
    log: Log, subscription: Subscription, *, member: str, to: Offsets, dry: bool = False
) -> list[Move]:
    """Join as `member`, whose engine must not run, and commit earlier offsets for the partitions that it gets.

    What is not behind where a partition is read next is left alone: going back never skips a record.

    Raises:
        shared.bus.port.CommitRefused: a partition was taken from this member; nothing was committed.
        shared.errors.Transient: the log is away.
    """
    joined = _Joined()
    reader = await log.reader(
        subscription.topics,
        kind="group",
        group=subscription.group,
        member=subscription.member(member),
        listener=joined,
    )
    joined.reader = reader
    try:
        before = await _settled(reader, joined)
        moves = [
            Move(partition, position, to[partition])
            for partition, position in sorted(before.items())
            if partition in to and to[partition] < position
        ]
        if moves and not dry:
            await reader.commit({move.partition: move.after for move in moves})
        return moves
    finally:
        await reader.close()


async def _settled(reader: Reader, joined: _Joined) -> Offsets:
    """Where each partition of this member is read next; empty where others have them all."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + JOIN_S
    while joined.partitions is None and loop.time() < deadline:
        await reader.fetch(max_records=1, timeout=LOOK_S)
    ours = joined.partitions or []
    return {one: at for one, at in (await reader.positions()).items() if one in ours}
