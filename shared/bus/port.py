"""The port of the log, and what its words mean.

- A *topic* has *partitions*; records of one key go to one partition and keep their order.
- An *offset* numbers the records of a partition from 0; offsets of an ephemeral topic may have holes.
- A *group*'s *committed offset* is the next one to read after a restart: every record before it is finished.
- A *stored position* is the same number kept in a database beside the state it belongs to; it wins over the
  committed offset, which is then only lag bookkeeping.
- *Durable* means: when `append` returns, the records survive the death of the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from schemas.cloudevents import Headers
from schemas.event import Envelope, Event, Picture, Topic

if TYPE_CHECKING:
    from shared.service import Health


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


Offsets = Mapping[Partition, int]


class Message(msgspec.Struct, frozen=True):
    """What is appended. `partition` None: chosen by the key (murmur2 as Kafka's default partitioner)."""

    topic: str
    key: str | None
    value: bytes | None
    headers: Headers = ()
    picture: Picture | None = None
    partition: int | None = None


class Record(msgspec.Struct, frozen=True):
    """What is read. `picture` is set on ephemeral records that never left the process; `value` is then empty."""

    partition: Partition
    offset: int
    key: str | None
    value: bytes | None
    headers: Headers
    timestamp: int  # microseconds UTC, host time of the append
    picture: Picture | None = None


class Listener(Protocol):
    """Told by a reader of kind `group` when partitions come and go."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Partitions are ours now. Nothing of them was fetched yet: pause or seek them here. Must be quick."""
        ...

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Finish, commit and forget these partitions; they are another's when this returns."""
        ...


class CommitRefused(Exception):
    """The partition is no longer ours: another member owns it. Drop its state, carry on."""


class Fenced(CommitRefused):
    """Another process joined under this member's name. This one is over; names must be unique."""


class Reader(Protocol):
    """One member's view of a subscription."""

    async def fetch(
        self, *, max_records: int, timeout: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """The next records, per partition in offset order; empty after `timeout` seconds without any.

        Raises:
            Fenced: another process took this member's name.
            shared.errors.Transient: the log is away; call again.
            shared.errors.Unavailable: this reader is over; a new one may work.
        """
        ...

    async def commit(self, offsets: Offsets) -> None:
        """Commit next offsets.

        Raises:
            CommitRefused: a partition was taken from this member; nothing was committed.
            shared.errors.Transient: the log did not answer in time.
        """
        ...

    async def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset (or the oldest kept one after it)."""
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Fetch nothing from these until resumed; membership is kept alive."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo `pause`."""
        ...

    async def ends(self) -> Offsets:
        """The offset after the newest record, of every partition of ours."""
        ...

    async def positions(self) -> Offsets:
        """Where each partition of ours is read next: what lies before was fetched or is no longer kept."""
        ...

    @property
    def joined(self) -> bool:
        """Whether this member has its share of the partitions, which may be none; false while it joins (again)."""
        ...

    async def close(self) -> None:
        """Leave. Static members are not missed until their session ends."""
        ...


Kind = Literal["group", "table", "tail"]


class Log(Protocol):
    """An append-only log of topics: the only way facts travel between services."""

    async def append(
        self, messages: Sequence[Message], *, timeout: float = 15.0
    ) -> Sequence[tuple[Partition, int]]:
        """Append all, in order per key; returns their places once they are as durable as their topic says.

        Raises:
            shared.errors.Transient: not acknowledged within `timeout` seconds; it may or may not be there.
        """
        ...

    async def reader(
        self, topics: Sequence[Topic], *, kind: Kind, group: str, member: str, listener: Listener
    ) -> Reader:
        """Join as `member` (a stable name). `table` reads all from the start, `tail` all from now on."""
        ...

    async def check(self) -> Health:
        """Whether the log answers and is set up as it should be; degraded where it is not."""
        ...

    async def close(self) -> None:
        """Flush and leave; nothing acknowledged is lost."""
        ...


class Batch(msgspec.Struct, frozen=True):
    """Consecutive records of one partition, decoded. `next_offset` is the one after the last of them.

    No id occurs twice in it: a record that was appended again, since its acknowledgement was lost, is dropped here.

    A stateful stage (one with `positions`) may get a batch without envelopes: what lay before `next_offset` went
    to the dead letters. It stores `next_offset`, so that a restart does not park the same record again.
    """

    partition: Partition
    envelopes: tuple[Envelope, ...]
    next_offset: int


Handler = Callable[[Batch], Awaitable[None]]
"""Finishes a batch or raises: Transient (again later), Poison (dead-letter), anything else: a few tries, then parked.

Must be idempotent: after a crash the same envelopes come again with the same ids.
"""

Unfinished = Callable[[Partition], int | None]
"""The lowest offset of a partition whose effect is still under way though its batch has returned; None: there is none."""


class Positions(Protocol):
    """Stored positions of stateful stages; `shared.db.checkpoints` implements it in the stage's own database."""

    async def load(self, group: str, partition: Partition) -> int | None:
        """The next offset to read, or None where nothing is stored yet."""
        ...


class Owner(Protocol):
    """A stateful stage's side of assignment: load state before the first batch, drop it after the last."""

    async def assigned(self, partition: Partition) -> None:
        """Load this partition's state, in place of any that is there.

        Called before the first batch, and again after a failed one: the engine then goes back to the stored
        position, so that half a batch in memory does no harm.
        """
        ...

    async def revoked(self, partition: Partition) -> None:
        """Called after the last batch was finished and before the partition is given up: checkpoint, then forget.

        Not called when the last batch was cut off: nothing in memory is worth keeping then.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """What a service reads and who handles it.

    `handler` gets batches of one partition; different partitions run concurrently, one partition never does.
    `each`: hand over one envelope at a time (a batch of one), so that a bad one stands alone from the start.
    A batch handler that raises is called again record by record to find the bad one.
    `unfinished`: a handler that returns before all is done says so here; nothing from there on is committed, and it
    must bound by itself what is under way.
    `positions`: a stateful stage; where nothing is stored yet a partition is read from its oldest record.
    """

    topics: tuple[Topic, ...]
    handler: Handler
    group: str
    kind: Kind = "group"
    positions: Positions | None = None
    owner: Owner | None = None
    unfinished: Unfinished | None = None
    each: bool = False
    max_batch: int = 200
    options: Mapping[str, float] = field(
        default_factory=dict
    )  # overrides of engine settings, by name

    def member(self, process: str) -> str:
        """The member's name of a process: two subscriptions of one group never fence each other."""
        return "-".join([process, *sorted(topic.name for topic in self.topics)])


class Publisher(Protocol):
    """Says events. Bound to one service: refuses what that service does not declare."""

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Append to the log, in order.

        Raises:
            shared.errors.Transient: not acknowledged in time.
            PermissionError: an event on a topic that this service does not declare in `produces`.
        """
        ...

    def mint(
        self,
        event: Event,
        *,
        id: str | None = None,
        topic: Topic | None = None,
        picture: Picture | None = None,
        cause: Envelope | None = None,
    ) -> Envelope:
        """An envelope for a new event. `cause` hands on its correlation and trace; `id` None: a new random one."""
        ...

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        """An envelope that deletes `key` from a compacted topic."""
        ...


Opened = AbstractAsyncContextManager[Log]
