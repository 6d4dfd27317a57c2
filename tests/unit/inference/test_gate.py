"""The gate: regions with motion and where something was seen, a full look every two seconds, thinned by rate."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.event import Box
from schemas.events.frame_captured import FrameCaptured
from services.inference.gate import FULL, NONE, Gate, Glance, around
from tests.unit.inference.events import HEIGHT, PERIOD, START, WIDTH, frame

MOVING = (600.0, 300.0, 40.0, 80.0)


def captured(seq: int, *motion: Box) -> FrameCaptured:
    event = frame(seq, motion=motion).event
    assert isinstance(event, FrameCaptured)
    return event


def decide(gate: Gate, seq: int, *motion: Box, rate: float = 5.0, see: tuple[Box, ...] = ()) -> str:
    glance = gate.decide(captured(seq, *motion), rate=rate, period=PERIOD)
    if glance.coverage != "none":
        gate.looked(START + (seq - 1) * PERIOD, glance, see)
    return glance.coverage


def test_a_fresh_owner_looks_at_the_whole_frame_first() -> None:
    assert decide(Gate(), 1) == "full"


def test_a_still_scene_is_looked_at_every_two_seconds() -> None:
    gate = Gate()
    looks = [decide(gate, seq) for seq in range(1, 32)]
    assert [seq for seq, look in enumerate(looks, 1) if look == "full"] == [1, 11, 21, 31]
    assert set(looks) == {"full", "none"}


def test_two_seconds_hold_where_frames_do_not_fall_on_them() -> None:
    gate = Gate()
    period, last, longest = 300_000, START, 0
    for number in range(60):
        at = START + number * period
        event = captured(1)
        moved = FrameCaptured(
            **{
                name: getattr(event, name)
                for name in event.__struct_fields__
                if name != "captured_at"
            },
            captured_at=at,
        )
        glance = gate.decide(moved, rate=10, period=period)
        if glance.coverage == "full":
            gate.looked(at, glance, ())
            longest, last = max(longest, at - last), at
    assert longest == 1_800_000


def test_a_full_look_that_failed_is_made_up_for() -> None:
    gate = Gate()
    assert gate.decide(captured(1), rate=5, period=PERIOD) == FULL
    assert gate.decide(captured(2), rate=5, period=PERIOD) == FULL


def test_motion_is_looked_at_with_what_stands_around_it() -> None:
    gate = Gate()
    decide(gate, 1)
    glance = gate.decide(captured(2, MOVING), rate=5, period=PERIOD)
    assert glance == Glance("regions", ((460.0, 180.0, 320.0, 320.0),))


def test_what_was_seen_is_looked_at_for_ten_seconds_though_nothing_moves() -> None:
    gate = Gate()
    decide(gate, 1, see=(MOVING,))
    looks = [decide(gate, seq) for seq in range(2, 62)]
    assert looks[:9] == ["regions"] * 9
    assert looks.index("none") == 50
    assert looks[50:].count("regions") == 0


def test_somebody_who_stands_still_stays_in_sight() -> None:
    gate = Gate()
    decide(gate, 1, see=(MOVING,))
    assert "none" not in [decide(gate, seq, see=(MOVING,)) for seq in range(2, 300)]


def test_a_walker_leaves_no_trail_of_regions() -> None:
    gate = Gate()
    decide(gate, 1, see=(MOVING,))
    for seq in range(2, 10):
        decide(gate, seq, see=((600.0 + 10 * seq, 300.0, 40.0, 80.0),))
    glance = gate.decide(captured(10), rate=5, period=PERIOD)
    assert glance.regions[0][2] == 320.0


def test_a_plan_thins_what_ingest_sends() -> None:
    gate = Gate()
    looks = [decide(gate, seq, MOVING, rate=1.0) for seq in range(1, 27)]
    assert [seq for seq, look in enumerate(looks, 1) if look != "none"] == [1, 6, 11, 16, 21, 26]


def test_a_rate_that_frames_do_not_fall_on_is_kept_on_average() -> None:
    gate = Gate()
    looks = [decide(gate, seq, MOVING, rate=2.0) for seq in range(1, 101)]
    assert sum(look != "none" for look in looks) == 40


def test_frames_a_little_early_are_not_thinned_away() -> None:
    gate = Gate()
    for seq in range(1, 40):
        event = captured(seq, MOVING)
        early = -60_000 if seq % 2 else 0
        glance = gate.decide(
            FrameCaptured(
                camera="yard",
                epoch=1,
                seq=seq,
                captured_at=event.captured_at + early,
                read_at=0,
                width=WIDTH,
                height=HEIGHT,
                lease=1,
            ),
            rate=5,
            period=PERIOD,
            every_frame=False,
        )
        gate.looked(event.captured_at, FULL, (MOVING,))
        assert glance != NONE


def test_every_frame_means_every_frame_in_full() -> None:
    gate = Gate()
    for seq in range(1, 20):
        assert gate.decide(captured(seq), rate=0.1, period=PERIOD, every_frame=True) == FULL


SIDE = st.floats(0, 500)
PLACES = st.lists(st.tuples(st.floats(-50, WIDTH), st.floats(-50, HEIGHT), SIDE, SIDE), max_size=6)


@given(PLACES, st.sampled_from([(WIDTH, HEIGHT), (640, 360), (320, 240), (100, 900)]))
def test_a_region_holds_all_places_and_lies_in_the_frame(
    places: list[Box], size: tuple[int, int]
) -> None:
    glance = around(places, *size)
    assert (glance == NONE) == (not places)
    for left, top, width, height in glance.regions:
        assert all(float(side).is_integer() for side in (left, top, width, height))
        assert left >= 0
        assert top >= 0
        assert left + width <= size[0]
        assert top + height <= size[1]
        assert width >= min(320, size[0])
        assert height >= min(320, size[1])
        for x, y, wide, high in places:
            assert left <= max(0, x) or x > size[0]
            assert top <= max(0, y) or y > size[1]
            assert left + width >= min(size[0], x + wide) or x + wide < 0
            assert top + height >= min(size[1], y + high) or y + high < 0


def test_the_frame_is_looked_at_where_a_region_is_not_much_smaller() -> None:
    assert around([(0, 0, 900, 600)], WIDTH, HEIGHT) == FULL
    assert around([MOVING, (10, 10, 20, 20), (1200, 650, 20, 40)], WIDTH, HEIGHT) == FULL
