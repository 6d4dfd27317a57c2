"""The Kalman bank: exact in time, sound in its covariances, right about plain movement."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.vision.boxes import FloatArray
from shared.vision.motion import Motion, MotionModel

WALKER = np.array([[100.0, 100.0, 140.0, 200.0]])


def motion_of(*boxes: FloatArray) -> Motion:
    motion = Motion(MotionModel())
    for box in boxes:
        motion.add(box)
    return motion


def walk(motion: Motion, *, fps: float, seconds: float, speed: float) -> FloatArray:
    """Move the first track to the right at `speed` pixels a second; return its last true box."""
    box = WALKER
    for frame in range(1, round(seconds * fps) + 1):
        box = WALKER + np.array([1.0, 0.0, 1.0, 0.0]) * speed * frame / fps
        motion.predict(1 / fps)
        motion.correct([0], box, 1 / fps)
    return box


def test_a_new_track_rests_where_it_was_seen() -> None:
    motion = motion_of(WALKER)
    motion.predict(3.0)
    assert motion.boxes().tolist() == WALKER.tolist()


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
def test_a_steady_walk_is_learned_at_any_frame_rate(fps: float) -> None:
    motion = motion_of(WALKER)
    last = walk(motion, fps=fps, seconds=3.0, speed=80.0)
    assert np.abs(motion.boxes() - last).max() < 4.0
    motion.predict(0.4)
    ahead = motion.boxes()[0, 0] - last[0, 0]
    assert 0.8 * 32.0 < ahead < 1.1 * 32.0


def test_an_unseen_track_comes_to_rest() -> None:
    motion = motion_of(WALKER)
    last = walk(motion, fps=10.0, seconds=3.0, speed=80.0)
    memory = MotionModel().place_memory
    motion.predict(20.0 * memory)
    assert motion.boxes()[0, 0] - last[0, 0] < 1.2 * 80.0 * memory
    assert abs(motion.beliefs[0, 1, 0]) < 1e-3


@given(
    st.floats(0.001, 5.0),
    st.floats(0.001, 5.0),
    st.floats(-500.0, 500.0),
)
def test_time_composes_exactly(first: float, second: float, speed: float) -> None:
    """Passing twice is passing once by the sum: the reason why the frame rate cannot matter."""
    one, two = motion_of(WALKER), motion_of(WALKER)
    for motion in (one, two):
        walk(motion, fps=8.0, seconds=1.0, speed=speed)
        # The noise grows with the believed height, which must then not change meanwhile.
        motion.beliefs[:, 1, 2:] = 0.0
        motion.beliefs[:, 3, 2:] = 0.0
    one.predict(first + second)
    two.predict(first)
    two.predict(second)
    np.testing.assert_allclose(two.beliefs[:, :, :2], one.beliefs[:, :, :2], rtol=1e-9, atol=1e-9)


@given(st.lists(st.tuples(st.floats(0.001, 3.0), st.floats(1.0, 400.0)), max_size=20))
def test_covariances_stay_positive(steps: list[tuple[float, float]]) -> None:
    motion = motion_of(WALKER)
    for seconds, height in steps:
        motion.predict(seconds)
        motion.correct([0], np.array([[50.0, 50.0, 50.0 + height / 2, 50.0 + height]]), seconds)
    _, _, spread, shared, pace = motion.beliefs[0]
    assert (spread > 0).all()
    assert (pace > 0).all()
    assert (shared * shared <= spread * pace * (1 + 1e-9)).all()


def test_a_missed_track_goes_on_with_its_average_velocity() -> None:
    motion = motion_of(WALKER)
    last = walk(motion, fps=10.0, seconds=3.0, speed=80.0)
    cut = last.copy()
    cut[0, 2] -= 20.0  # something begins to hide the walker: the centre jumps back
    motion.predict(0.1)
    motion.correct([0], cut, 0.1)
    bent = motion.beliefs[0, 1, 0]
    motion.predict(0.1)
    motion.coast([0], 0.1)
    assert abs(80.0 - motion.beliefs[0, 1, 0]) < 0.5 * abs(80.0 - bent)


def test_rows_do_not_touch_each_other() -> None:
    alone, pair = motion_of(WALKER), motion_of(WALKER, WALKER + 300.0)
    walk(alone, fps=10.0, seconds=1.0, speed=50.0)
    walk(pair, fps=10.0, seconds=1.0, speed=50.0)
    pair.keep([0])
    assert pair.beliefs.tobytes() == alone.beliefs.tobytes()


def test_a_shrinking_box_keeps_at_least_one_pixel() -> None:
    motion = motion_of(WALKER)
    for step in range(1, 10):
        motion.predict(0.05)
        motion.correct([0], np.array([[100.0, 100.0, 140.0 - 4 * step, 200.0 - 11 * step]]), 0.05)
    motion.predict(60.0)
    left, top, right, bottom = motion.boxes()[0]
    assert right - left >= 1.0
    assert bottom - top >= 1.0
