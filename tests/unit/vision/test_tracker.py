"""The tracker on plain scenes: who is who, for how long, and what it refuses."""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.vision.tracker import FULL, Coverage, Tracked, Tracker, TrackerSettings

Seen: TypeAlias = tuple[str, float, tuple[float, float, float, float]]
Scene: TypeAlias = Callable[[float], list[Seen]]

SIZE = (1280, 720)
RATES = pytest.mark.parametrize("fps", [5, 10, 25])


def person(x: float, y: float = 300.0, *, score: float = 0.9, label: str = "person") -> Seen:
    """A person whose box is 40 x 100 with its upper left corner at (x, y)."""
    return label, score, (x, y, x + 40.0, y + 100.0)


def opened(*, epoch: int = 1, at: float = 0.0, tracker: Tracker | None = None) -> Tracker:
    tracker = tracker or Tracker()
    tracker.open(epoch=epoch, at=micros(at), size=SIZE)
    return tracker


def micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def look(
    tracker: Tracker, at: float, seen: Iterable[Seen], coverage: Coverage = FULL
) -> list[Tracked]:
    rows = list(seen)
    boxes = np.array([box for *_, box in rows], dtype=np.float64).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], dtype=np.float64)
    return tracker.update(micros(at), boxes, scores, [label for label, *_ in rows], coverage)


def watch(
    tracker: Tracker,
    scene: Scene,
    *,
    fps: float,
    start: float = 0.0,
    stop: float,
    coverage: Coverage = FULL,
) -> list[list[Tracked]]:
    """Look at the scene at each frame of [start, stop)."""
    count = round((stop - start) * fps)
    times = [start + frame / fps for frame in range(count)]
    return [look(tracker, at, scene(at), coverage) for at in times]


def ids(rows: Iterable[Tracked]) -> list[tuple[int, int]]:
    return [(row.epoch, row.number) for row in rows]


def standing(at: float) -> list[Seen]:
    return [person(200.0)]


@RATES
def test_a_walker_is_one_track_born_at_the_first_sighting(fps: int) -> None:
    frames = watch(opened(), lambda at: [person(100.0 + 60.0 * at)], fps=fps, stop=6.0)
    rows = [row for frame in frames for row in frame]
    assert set(ids(rows)) == {(1, 1)}
    assert len(frames) - len(rows) == 2  # three sure sightings confirm
    assert {row.born_at for row in rows} == {0}
    assert rows[-1].seen_at == micros((len(frames) - 1) / fps)
    assert rows[-1].box == pytest.approx(
        (100.0 + 60.0 * rows[-1].seen_at / 1e6, 300, 40, 100), abs=4
    )


@RATES
def test_people_who_pass_each_other_keep_their_ids(fps: int) -> None:
    def scene(at: float) -> list[Seen]:
        right, left = 100.0 + 90.0 * at, 640.0 - 90.0 * at
        # The one behind is hidden while their boxes overlap.
        return [person(right, 310.0)] + ([person(left)] if abs(left - right) > 25.0 else [])

    frames = watch(opened(), scene, fps=fps, stop=6.0)
    assert {pair for frame in frames for pair in ids(frame)} == {(1, 1), (1, 2)}
    before, after = frames[fps], frames[-1]
    assert before[0].box[0] < before[1].box[0]
    assert after[0].box[0] > after[1].box[0]


@RATES
@pytest.mark.parametrize(("absence", "same"), [(0.4, True), (1.6, True), (2.6, False)])
def test_the_gap_is_in_seconds(fps: int, absence: float, same: bool) -> None:
    def scene(at: float) -> list[Seen]:
        return [] if 2.0 <= at < 2.0 + absence else [person(200.0)]

    frames = watch(opened(), scene, fps=fps, stop=6.0)
    assert ids(frames[-1]) == [(1, 1) if same else (1, 2)]


def test_uneven_frames_do_not_lose_a_walker() -> None:
    tracker, at = opened(), 0.0
    seen: set[tuple[int, int]] = set()
    for step in [0.04, 0.2, 0.04, 0.5, 0.1, 0.04, 0.9, 0.04, 0.3] * 3:
        at += step
        seen |= set(ids(look(tracker, at, [person(100.0 + 25.0 * at)])))
    assert seen == {(1, 1)}


def test_a_hole_in_the_stream_longer_than_the_gap_ends_tracks() -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    assert ids(look(tracker, 2.9, standing(2.9))) == [(1, 1)]
    assert look(tracker, 5.0, standing(5.0)) == []
    assert tracker.held() == []


def test_a_doubtful_detection_continues_a_track_but_begins_none() -> None:
    doubtful = [person(200.0, score=0.45)]
    assert not any(watch(opened(), lambda _: doubtful, fps=10, stop=5.0))
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    frames = watch(tracker, lambda _: doubtful, fps=10, start=1.0, stop=5.0)
    assert {pair for frame in frames for pair in ids(frame)} == {(1, 1)}
    assert all(frames)
    assert frames[-1][0].score == 0.45


def test_a_flash_is_no_track() -> None:
    def scene(at: float) -> list[Seen]:
        return [person(200.0 + 200.0 * (round(at * 10) % 5))] if round(at * 10) % 2 == 0 else []

    assert not any(watch(opened(), scene, fps=10, stop=4.0))


def test_a_track_keeps_its_class() -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    frames = watch(tracker, lambda _: [person(200.0, label="car")], fps=10, start=1.0, stop=2.0)
    assert [(row.number, row.label) for row in frames[-1]] == [(2, "car")]
    assert [(row.number, row.label) for row in tracker.held()] == [(1, "person")]


def test_a_person_stays_a_person_under_a_surer_car() -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    both = [person(200.0, score=0.99, label="car"), person(202.0, score=0.7)]
    frames = watch(tracker, lambda _: both, fps=10, start=1.0, stop=2.0)
    assert [(row.number, row.label) for row in frames[-1]] == [(1, "person"), (2, "car")]


def test_held_tracks_are_those_that_live_on_unseen() -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    assert tracker.held() == []
    assert look(tracker, 1.0, []) == []
    assert ids(tracker.held()) == [(1, 1)]
    assert tracker.held()[0].seen_at == micros(0.9)
    watch(tracker, lambda _: [], fps=10, start=1.1, stop=3.1)
    assert tracker.held() == []


ELSEWHERE = Coverage("regions", ((600.0, 0.0, 300.0, 300.0),))
HALF = Coverage("regions", ((600.0, 0.0, 90.0, 90.0), (190.0, 290.0, 80.0, 120.0)))


@pytest.mark.parametrize(
    ("coverage", "same"),
    [
        (Coverage("none"), True),
        (ELSEWHERE, True),
        (Coverage("regions"), True),
        (HALF, False),
        (Coverage("full"), False),
    ],
)
def test_a_loiterer_is_held_where_nobody_looks(coverage: Coverage, same: bool) -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=3.0)
    for frame in range(600):
        look(tracker, 3.0 + frame / 10, [], coverage)
    assert ids(tracker.held()) == ([(1, 1)] if same else [])
    frames = watch(tracker, standing, fps=10, start=63.0, stop=64.0)
    assert ids(frames[-1]) == [(1, 1) if same else (1, 2)]


def test_a_held_track_rests_where_it_was_seen() -> None:
    """The last movement before somebody stands still must not carry the track away."""
    tracker = opened()
    watch(tracker, lambda at: [person(100.0 + 80.0 * min(at, 3.0))], fps=10, stop=3.2)
    watch(tracker, lambda _: [], fps=10, start=3.2, stop=60.0, coverage=Coverage("none"))
    assert ids(look(tracker, 60.0, [person(340.0)])) == [(1, 1)]


def test_the_gap_counts_only_looks() -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=3.0)
    for frame in range(36):  # every second frame looks: 1.8 s of looking within 3.6 s
        look(tracker, 3.0 + frame / 10, [], Coverage("none" if frame % 2 else "full"))
    assert ids(tracker.held()) == [(1, 1)]
    watch(tracker, lambda _: [], fps=10, start=6.6, stop=7.1)
    assert tracker.held() == []


@pytest.mark.parametrize(
    ("pause", "size", "same"),
    [(0.0, SIZE, True), (1.5, SIZE, True), (2.5, SIZE, False), (0.5, (640, 360), False)],
)
def test_tracks_cross_an_epoch_within_their_gap(
    pause: float, size: tuple[int, int], same: bool
) -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=2.0)
    tracker.open(epoch=2, at=micros(1.9 + pause), size=size)
    start = 2.0 + pause
    frames = watch(
        tracker, lambda _: [person(200.0), person(800.0)], fps=10, start=start, stop=start + 1.0
    )
    assert ids(frames[-1]) == ([(1, 1), (2, 1)] if same else [(2, 1), (2, 2)])


def test_an_epoch_that_begins_in_the_past_ends_all_tracks() -> None:
    tracker = opened(at=100.0)
    watch(tracker, standing, fps=10, start=100.0, stop=102.0)
    opened(epoch=2, at=0.0, tracker=tracker)
    assert tracker.held() == []
    assert ids(watch(tracker, standing, fps=10, stop=1.0)[-1]) == [(2, 1)]


def test_numbers_are_never_given_twice() -> None:
    tracker = opened()
    for visit in range(4):
        start = 5.0 * visit
        frames = watch(tracker, standing, fps=10, start=start, stop=start + 1.0)
        assert ids(frames[-1]) == [(1, visit + 1)]
        watch(tracker, lambda _: [], fps=10, start=start + 1.0, stop=start + 5.0)
    opened(epoch=1, at=20.0, tracker=tracker)
    assert ids(watch(tracker, standing, fps=10, start=20.0, stop=21.0)[-1]) == [(1, 5)]


def test_empty_frames_are_frames() -> None:
    tracker = opened()
    assert watch(tracker, lambda _: [], fps=10, stop=1.0) == [[]] * 10
    assert tracker.held() == []


def _arrays(box: list[float], score: float) -> dict[str, Any]:
    return {"boxes": np.array([box]), "scores": np.array([score]), "labels": ["person"]}


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        (_arrays([0.0, 0.0, math.nan, 9.0], 0.9), "detection 0 is malformed"),
        (_arrays([0.0, -math.inf, 9.0, 9.0], 0.9), "detection 0 is malformed"),
        (_arrays([0.0, 0.0, 9.0, 9.0], math.nan), "score nan"),
        (_arrays([0.0, 0.0, 9.0, 9.0], 1.5), "score 0 to 1"),
        (_arrays([9.0, 0.0, 9.0, 9.0], 0.9), "left < right"),
        ({**_arrays([0.0, 0.0, 9.0, 9.0], 0.9), "labels": []}, "0 labels need boxes of shape"),
        ({**_arrays([0.0, 0.0, 9.0, 9.0], 0.9), "scores": np.zeros(2)}, r"got \(1, 4\) and \(2,\)"),
    ],
)
def test_malformed_detections_are_refused_and_change_nothing(
    detections: dict[str, Any], message: str
) -> None:
    tracker = opened()
    watch(tracker, standing, fps=10, stop=1.0)
    before = tracker.dump()
    with pytest.raises(ValueError, match=message):
        tracker.update(micros(1.0), **detections)
    assert tracker.dump() == before


def test_frames_come_in_order_in_an_open_epoch() -> None:
    with pytest.raises(ValueError, match="call open"):
        look(Tracker(), 0.0, [])
    tracker = opened(epoch=3, at=1.0)
    with pytest.raises(ValueError, match="does not come after"):
        look(tracker, 0.9, [])
    look(tracker, 1.0, [])
    with pytest.raises(ValueError, match="does not come after"):
        look(tracker, 1.0, [])
    with pytest.raises(ValueError, match="epoch 2 is over: epoch 3"):
        opened(epoch=2, at=5.0, tracker=tracker)
    with pytest.raises(ValueError, match="0x720 is not positive"):
        tracker.open(epoch=4, at=micros(5.0), size=(0, 720))


def test_settings_change_the_patience() -> None:
    tracker = opened(tracker=Tracker(TrackerSettings(gap=0.5)))
    watch(tracker, standing, fps=10, stop=1.0)
    watch(tracker, lambda _: [], fps=10, start=1.0, stop=1.6)
    assert tracker.held() == []


places = st.tuples(st.integers(0, 12), st.integers(0, 4), st.sampled_from([0.45, 0.7, 0.9, 0.9]))
crowds = st.lists(places, max_size=6, unique_by=lambda place: place[:2])
films = st.lists(crowds, min_size=1, max_size=25)


def _crowd(frame: list[tuple[int, int, float]]) -> list[Seen]:
    return [
        person(30.0 * x, 80.0 * y, score=score, label="car" if x == 3 else "person")
        for x, y, score in frame
    ]


def _play(tracker: Tracker, film: list[list[tuple[int, int, float]]], first: int = 0) -> list[Any]:
    return [look(tracker, (first + frame) / 10, _crowd(crowd)) for frame, crowd in enumerate(film)]


@settings(deadline=None)
@given(films, st.randoms(use_true_random=False))
def test_the_order_of_detections_does_not_matter(film: list[Any], random: Any) -> None:
    shuffled = [random.sample(crowd, len(crowd)) for crowd in film]
    assert _play(opened(), film) == _play(opened(), shuffled)


@settings(deadline=None)
@given(films, st.integers(0, 25))
def test_a_checkpoint_goes_on_bit_for_bit(film: list[Any], cut: int) -> None:
    whole, first, second = opened(), opened(), Tracker()
    expected = _play(whole, film)
    rows = _play(first, film[:cut])
    second.load(first.dump())
    rows += _play(second, film[cut:], first=min(cut, len(film)))
    assert rows == expected
    assert second.dump() == whole.dump()


@pytest.mark.parametrize("checkpoint", [b"", b"not one", b"\x80", Tracker().dump()[:-1]])
def test_bytes_that_are_no_checkpoint_are_refused(checkpoint: bytes) -> None:
    tracker = opened()
    before = tracker.dump()
    with pytest.raises(ValueError, match="not a checkpoint of this tracker"):
        tracker.load(checkpoint)
    assert tracker.dump() == before
