"""What an event is: a frozen fact in the past tense, the topic it lives on, and the envelope that carries it.

Times inside events are `Micros`: integers, microseconds since 1970-01-01T00:00:00 UTC. Integers compare
exactly, so a dwell of 45 s is 45 s on every machine and in every replay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

Micros = Annotated[int, Meta(description="Microseconds since 1970-01-01T00:00:00 UTC.")]
CameraId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Box = Annotated[
    tuple[float, float, float, float],
    Meta(description="left, top, width, height in pixels of the source frame"),
]
Point = Annotated[
    tuple[float, float], Meta(description="x, y as fractions of the frame, 0..1 from top left")
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A named log of facts.

    `ephemeral`: the newest records only; they may be dropped and are never replayed.
    `durable`: acknowledged means on disk; at least once to each group.
    `compacted`: durable, one type, the full current document per key and a tombstone for a deletion.
    """

    name: str
    kind: Literal["ephemeral", "durable", "compacted"]
    partitions: int
    description: str
    retention_hours: int | None = None  # None: for ever (compacted) or the ring's size (ephemeral)

    @property
    def dead(self) -> str:
        """Where records of this topic go that no handler can digest."""
        return f"{self.name}.dead"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact. Subclasses set `type` (noun.past-participle), `version`, `topics`, and give a `key`.

    `topics[0]` is the event's home; a further topic is one that passes it on in order.
    Adding a field with a default keeps the version; anything else is a new class beside the old one.
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1
    topics: ClassVar[tuple[Topic, ...]]

    @property
    def key(self) -> str:
        """What must stay in order: events of one key are read in the order they were said."""
        raise AttributeError(f"{type(self).__name__} has no key")

    @property
    def at(self) -> int:
        """Event time, microseconds UTC: becomes the CloudEvents `time`."""
        raise AttributeError(f"{type(self).__name__} has no event time")


class Picture(Protocol):
    """A frame's picture, as pixels or as JPEG, whichever is at hand; the other is made at most once."""

    def jpeg(self) -> bytes:
        """The picture as JPEG."""
        ...

    def pixels(self) -> object:
        """The picture as a uint8 array of shape (height, width, 3), BGR."""
        ...


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way: CloudEvents attributes, and the place on the log once it was read from there.

    `id` is minted once and survives retries, dead letters, replay and webhooks.
    `event` is None for a tombstone of a compacted topic.
    """

    id: str
    source: str
    topic: str
    key: str
    event: Event | None
    picture: Picture | None = None
    traceparent: str | None = None
    correlation: str | None = None
    partition: int = -1
    offset: int = -1


def type_name(event: type[Event]) -> str:
    """The CloudEvents type, e.g. `alert.raised.v1`."""
    return f"{event.type}.v{event.version}"


def micros(moment: datetime) -> int:
    """A time-zone aware datetime as microseconds since the epoch.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; add Z or an offset")
    return (moment - EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Microseconds since the epoch as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=at)
