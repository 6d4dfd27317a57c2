"""Admission: bursts wait, under load the newest frame does, marks wait in order, what is lost is counted."""

from schemas.event import Envelope
from services.inference.admission import MOST, Slot
from tests.unit.inference.events import START, alive, closed, frame, opened

AGE = 2_000_000


def taken(slot: Slot, now: int = START) -> list[str]:
    found: list[Envelope] = []
    while (envelope := slot.take(now)) is not None:
        found.append(envelope)
    return [envelope.id.removeprefix("yard-1-") for envelope in found]


def fill(*envelopes: Envelope) -> Slot:
    slot = Slot(AGE)
    for envelope in envelopes:
        slot.offer(envelope)
    return slot


def test_a_short_burst_waits_in_order() -> None:
    slot = fill(*(frame(seq) for seq in range(1, 9)))
    assert taken(slot) == [f"1-{seq}" for seq in range(1, 9)]
    assert slot.lost() == {}


def test_a_burst_is_bounded_in_number_too() -> None:
    slot = fill(*(frame(seq, read_at=START + seq) for seq in range(1, MOST + 2)))
    assert taken(slot) == [f"1-{MOST + 1}"]
    assert slot.lost() == {"newer": MOST}


def test_under_load_the_newest_frame_takes_the_place_of_those_that_wait() -> None:
    slot = fill(*(frame(seq) for seq in range(1, 10)))
    assert taken(slot) == ["1-9"]
    assert slot.lost() == {"newer": 8}
    assert slot.lost() == {}


def test_under_lasting_load_looks_are_evenly_spread() -> None:
    slot = fill(*(frame(seq) for seq in range(1, 10)))
    looks = []
    for seq in range(10, 34):
        slot.offer(frame(seq))
        if seq % 3 == 0:
            looks += taken(slot)
    assert looks == [f"1-{seq}" for seq in range(12, 34, 3)]


def test_after_ten_calm_seconds_a_burst_may_wait_again() -> None:
    slot = fill(*(frame(seq) for seq in range(1, 10)))
    taken(slot)
    slot.offer(frame(50))
    slot.offer(frame(51))
    assert taken(slot) == ["1-51"]
    slot.offer(frame(101))
    slot.offer(frame(102))
    assert taken(slot) == ["1-101", "1-102"]


def test_marks_stay_in_order_around_the_frame() -> None:
    slot = fill(opened(), frame(1), alive(1), frame(9), alive(2), closed())
    assert taken(slot) == ["opened", "alive-1", "1-9", "alive-2", "closed"]


def test_a_frame_that_left_its_reader_too_long_ago_is_dropped() -> None:
    slot = fill(frame(1, read_at=START), alive(1))
    assert taken(slot, START + AGE + 1) == ["alive-1"]
    assert slot.lost() == {"late": 1}
    assert taken(fill(frame(1, read_at=START)), START + AGE) == ["1-1"]


def test_capture_time_does_not_count() -> None:
    assert taken(fill(frame(500, read_at=START)), START) == ["1-500"]


def test_heartbeats_are_bounded_and_what_opens_and_closes_stays() -> None:
    slot = fill(opened(), *(alive(second) for second in range(3 * MOST)), closed())
    found = taken(slot)
    assert len(found) == MOST
    assert found[0] == "opened"
    assert found[-2:] == [f"alive-{3 * MOST - 1}", "closed"]
    assert slot.lost() == {}


def test_it_knows_whether_anything_waits() -> None:
    slot = fill(frame(1))
    assert slot
    taken(slot)
    assert not slot
