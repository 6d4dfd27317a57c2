"""Dead letters: what is written about a record that no handler can digest, and when to stop writing them.

A dead letter is the record itself, value, key and headers untouched (so the event keeps its id), with headers that
say where it came from and why. Of one over a megabyte the value stays behind, at its origin. Ephemeral records have none: a picture must not outlive its topic. It is acknowledged before the source is committed: a crash between the two writes
it twice, with the same origin.
"""

import traceback
from collections import deque
from collections.abc import Iterable

import msgspec

from schemas.event import Topic
from shared.bus.port import Message, Partition, Record
from shared.errors import Poison

RETENTION_HOURS = 24 * 30
LONGEST = 4_000  # characters of a reason or traceback
LARGEST = (
    1_000_000  # bytes of a value; with what is written about it a larger one is too large for Kafka
)
PREFIX = "dead_"
RETURNED_TO = "replay_group"
RETURNED_FROM = "replay_of"
TRIPPED = "too many dead letters: stopped, so that the topic is not emptied; see its .dead topic"


def dead_topic(topic: Topic) -> Topic:
    """The topic that takes the dead letters of `topic`."""
    return Topic(
        name=topic.dead,
        kind="durable",
        partitions=1,
        retention_hours=RETENTION_HOURS,
        description=f"Records of {topic.name} that no handler could digest.",
    )


def with_dead(topics: Iterable[Topic]) -> tuple[Topic, ...]:
    """These topics, and one for the dead letters of each that is not ephemeral."""
    known = tuple(topics)
    return (*known, *(dead_topic(topic) for topic in known if topic.kind != "ephemeral"))


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a record's failure. `first_seen` and `parked_at` in microseconds UTC."""

    error: Exception
    group: str
    attempt: int
    first_seen: int
    parked_at: int


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dead letter came from and why, read back from its headers."""

    partition: Partition
    offset: int
    group: str
    error: str
    reason: str
    attempt: int
    first_seen: int
    parked_at: int
    cut: bool = False  # its value was too large and lies at the origin alone


def letter(record: Record, failure: Failure) -> Message:
    """The dead letter of a record."""
    error = failure.error
    about = {
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "group": failure.group,
        "error": type(error).__name__,
        "reason": str(error)[:LONGEST],
        "attempt": failure.attempt,
        "firstseen": failure.first_seen,
        "parkedat": failure.parked_at,
    }
    if not isinstance(error, Poison | ValueError):
        about["traceback"] = "".join(traceback.format_exception(error))[-LONGEST:]
    cut = len(record.value or b"") > LARGEST
    if cut:
        about["cut"] = len(record.value or b"")
    return Message(
        topic=f"{record.partition.topic}.dead",
        key=record.key,
        value=None if cut else record.value,
        headers=(*record.headers, *((PREFIX + name, str(v).encode()) for name, v in about.items())),
        picture=record.picture,
    )


def origin(record: Record) -> Origin:
    """What the headers of a dead letter say.

    Raises:
        ValueError: the record is no dead letter.
    """
    about = {name.removeprefix(PREFIX): value for name, value in record.headers}
    try:
        return Origin(
            partition=Partition(about["topic"].decode(), int(about["partition"])),
            offset=int(about["offset"]),
            group=about["group"].decode(),
            error=about["error"].decode(),
            reason=about["reason"].decode(errors="replace"),
            attempt=int(about["attempt"]),
            first_seen=int(about["firstseen"]),
            parked_at=int(about["parkedat"]),
            cut="cut" in about,
        )
    except KeyError as error:
        raise ValueError(f"no dead letter: header {PREFIX}{error.args[0]} is missing") from error


def returned(record: Record) -> Message:
    """A dead letter as it goes back to where it came from: the record with its id, for its group alone.

    Raises:
        ValueError: the record is no dead letter, or its value was cut off.
    """
    told = origin(record)
    if told.cut:
        raise ValueError(f"the value of {place_of(told)} is too large for a dead letter")
    own = tuple(pair for pair in record.headers if not pair[0].startswith((PREFIX, "replay_")))
    return Message(
        topic=told.partition.topic,
        partition=told.partition.number,
        key=record.key,
        value=record.value,
        headers=(
            *own,
            (RETURNED_TO, told.group.encode()),
            (RETURNED_FROM, place_of(told).encode()),
        ),
    )


def place_of(told: Origin) -> str:
    """The place and group of a failure as text; the same for every copy of a dead letter."""
    return f"{told.partition.topic}/{told.partition.number}/{told.offset}/{told.group}"


def returned_to(record: Record) -> str | None:
    """The only group that a record is for, None where it is for everybody."""
    for name, value in record.headers:
        if name == RETURNED_TO:
            return value.decode(errors="replace")
    return None


class TripWire:
    """Trips at `limit` dead letters among the last `window` records; as many in a row are a case of that."""

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._recent: deque[bool] = deque(maxlen=window)
        self.tripped = False

    @property
    def reason(self) -> str:
        """Why nothing is handled any more; empty until it tripped."""
        return TRIPPED if self.tripped else ""

    def passed(self, count: int) -> None:
        """So many records were digested."""
        self._recent.extend([False] * count)

    def parked(self) -> None:
        """One was not."""
        self._recent.append(True)
        self.tripped = self.tripped or sum(self._recent) >= self._limit
