"""Dead letters and the wire that stops them."""

import pytest

from schemas.topics import DETECTIONS, FRAMES
from shared.bus.dead_letters import (
    LONGEST,
    Failure,
    TripWire,
    dead_topic,
    letter,
    origin,
    with_dead,
)
from shared.bus.port import Message, Partition, Record
from shared.errors import Poison

RECORD = Record(
    partition=Partition("detections", 3),
    offset=17,
    key="gate",
    value=b"{}",
    headers=(("ce_id", b"e1"), ("ce_type", b"detections.made.v1")),
    timestamp=1,
)


def failure(error: Exception) -> Failure:
    return Failure(error=error, group="orchestrator", attempt=2, first_seen=5, parked_at=9)


def as_record(message: Message) -> Record:
    return Record(
        partition=Partition(message.topic, 0),
        offset=0,
        key=message.key,
        value=message.value,
        headers=message.headers,
        timestamp=9,
    )


def test_a_letter_is_the_record_and_where_it_came_from() -> None:
    made = letter(RECORD, failure(Poison("no such camera")))
    assert (made.topic, made.key, made.value) == ("detections.dead", "gate", b"{}")
    assert made.headers[:2] == RECORD.headers
    told = origin(as_record(made))
    assert (told.partition, told.offset, told.group) == (RECORD.partition, 17, "orchestrator")
    assert (told.error, told.reason, told.attempt) == ("Poison", "no such camera", 2)
    assert (told.first_seen, told.parked_at) == (5, 9)
    assert "dead_traceback" not in dict(made.headers)


def test_a_long_reason_is_cut() -> None:
    made = letter(RECORD, failure(Poison("x" * 100_000)))
    assert len(dict(made.headers)["dead_reason"]) == LONGEST


def test_an_ordinary_record_is_no_dead_letter() -> None:
    with pytest.raises(ValueError, match="dead_topic is missing"):
        origin(RECORD)


def test_every_topic_that_is_kept_has_one_for_its_dead() -> None:
    assert with_dead([FRAMES, DETECTIONS]) == (FRAMES, DETECTIONS, dead_topic(DETECTIONS))
    assert dead_topic(DETECTIONS).name == DETECTIONS.dead


@pytest.mark.parametrize("between", [0, 5, 8])
def test_the_wire_trips_in_a_row_and_by_share(between: int) -> None:
    wire = TripWire(limit=50, window=500)
    for _ in range(49):
        wire.parked()
        wire.passed(between)
    assert (wire.tripped, wire.reason) == (False, "")
    wire.parked()
    assert (wire.tripped, bool(wire.reason)) == (True, True)


def test_one_percent_never_trips_the_wire() -> None:
    wire = TripWire(limit=50, window=500)
    for _ in range(1_000):
        wire.parked()
        wire.passed(99)
    assert not wire.tripped
