"""When a camera is tried again, what its state is called, and the times of its pictures."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.camera_configured import CameraConfigured, Detect, Mask, Zone
from services.ingest.domain import (
    LOCKED_OUT_S,
    SECOND,
    Attempts,
    Times,
    Trouble,
    adjusts,
    judge,
    opening_time,
    reopens,
)

AWAY = Trouble("unreachable", "the camera cannot be reached")
REFUSED = Trouble("auth", "the camera refused the login")
CHANCE = st.floats(0, 1, exclude_max=True)


def failures(trouble: Trouble, count: int, *, every_s: float = 2.0) -> tuple[Attempts, int]:
    attempts, now = Attempts(), 1_000 * SECOND
    for _ in range(count):
        now += round(every_s * SECOND)
        attempts = attempts.after(trouble, now)
    return attempts, now


@pytest.mark.parametrize(
    ("count", "state"), [(1, "retrying"), (9, "retrying"), (10, "offline"), (50, "offline")]
)
def test_ten_tries_then_offline(count: int, state: str) -> None:
    attempts, now = failures(AWAY, count)
    assert judge(attempts, AWAY, now, 0.5).state == state


def test_the_fifth_refused_login_is_the_last_for_a_while() -> None:
    attempts, now = failures(REFUSED, 4)
    assert judge(attempts, REFUSED, now, 0.0).state == "retrying"
    attempts = attempts.after(REFUSED, now)
    assert judge(attempts, REFUSED, now, 0.0) == ("auth_failed", LOCKED_OUT_S)


def test_a_login_that_once_worked_counts_from_zero_again() -> None:
    attempts, now = failures(REFUSED, 4)
    attempts = attempts.after(AWAY, now).after(REFUSED, now)
    assert judge(attempts, REFUSED, now, 0.0).state == "retrying"


def test_what_trying_again_does_not_change_is_tried_seldom() -> None:
    trouble = Trouble("unreadable", "there is no such file")
    attempts, now = failures(trouble, 1)
    verdict = judge(attempts, trouble, now, 0.0)
    assert verdict.state == "error"
    assert verdict.delay_s >= 30


def test_garbage_is_an_error_that_is_tried_again_soon() -> None:
    trouble = Trouble("undecodable", "data arrives but no picture can be made of it")
    attempts, now = failures(trouble, 1)
    assert judge(attempts, trouble, now, 0.0) == ("error", 1.0)


@given(CHANCE, st.integers(0, 7 * 24 * 3600))
def test_waits_are_drawn_between_one_second_and_a_minute(chance: float, away_s: int) -> None:
    attempts = Attempts(failed=3, since=1 * SECOND)
    delay = judge(attempts, AWAY, (1 + away_s) * SECOND, chance).delay_s
    assert 1.0 <= delay <= 60.0
    assert judge(attempts, AWAY, (1 + away_s) * SECOND, 0.0).delay_s == 1.0


@given(st.lists(CHANCE, min_size=200, max_size=200), st.floats(1, 30))
def test_after_half_a_minute_away_it_is_back_within_twenty_seconds(
    chances: list[float], outage_s: float
) -> None:
    now, attempts = 0, Attempts()
    for chance in chances:
        if now / SECOND >= outage_s:
            break
        attempts = attempts.after(AWAY, now + 1)
        now += round(judge(attempts, AWAY, now, chance).delay_s * SECOND)
    assert outage_s <= now / SECOND <= outage_s + 18


@given(st.lists(st.integers(-10, 10_000_000), min_size=1, max_size=50))
def test_capture_times_only_grow(offsets: list[int]) -> None:
    times = Times(5 * SECOND)
    captured = [times.capture(offset) for offset in offsets]
    assert all(a < b for a, b in itertools.pairwise(captured))
    assert captured[0] >= 5 * SECOND


def test_a_capture_time_is_opening_plus_offset() -> None:
    times = Times(7 * SECOND)
    assert [times.capture(offset) for offset in (0, 200_000, 400_000)] == [
        7_000_000,
        7_200_000,
        7_400_000,
    ]


@given(st.lists(st.integers(0, 3 * SECOND), max_size=30))
def test_one_heartbeat_for_each_second(steps: list[int]) -> None:
    times, at, beats = Times(0), 0, list[int]()
    for step in steps:
        at += step
        beats += times.beats(at)
    assert beats == [second * SECOND for second in range(1, at // SECOND + 1)]


def test_an_epoch_opens_when_its_first_picture_came() -> None:
    assert opening_time(100 * SECOND, 300_000, 0) == 99_700_000


@pytest.mark.parametrize("now", [0, 50 * SECOND, 99 * SECOND])
def test_a_host_clock_that_jumps_back_takes_no_time_back(now: int) -> None:
    assert opening_time(now, 0, 99 * SECOND) == 99 * SECOND + 1


def document(**changes: object) -> CameraConfigured:
    base: dict[str, object] = {
        "camera": "yard",
        "name": "Yard",
        "site": "s",
        "time_zone": "UTC",
        "url": "sim://demo",
        "document_version": 1,
        "effective_at": 0,
    }
    return CameraConfigured(**(base | changes))  # type: ignore[arg-type]  # fields by name


SHAPE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "again", "tells"),
    [
        ({}, False, False),
        ({"name": "Other"}, False, False),
        ({"zones": (Zone(name="z", points=SHAPE),)}, False, False),
        ({"detect": Detect(threshold=0.7)}, False, False),
        ({"detect": Detect(rate=2.0)}, False, True),
        ({"masks": (Mask(name="m", points=SHAPE),)}, False, True),
        ({"url": "sim://demo?seed=2"}, True, False),
        ({"credentials": "v1.x"}, True, False),
        ({"enabled": False}, True, False),
    ],
)
def test_only_what_matters_to_the_reader_reaches_it(
    changes: dict[str, object], again: bool, tells: bool
) -> None:
    assert reopens(document(), document(**changes)) is again
    assert adjusts(document(), document(**changes)) is tells
