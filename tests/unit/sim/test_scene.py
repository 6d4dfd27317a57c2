"""The simulated yard: the same on every machine, empty at its seam, nobody hidden by anybody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sim.scene import ACT_S, SECOND, Actor, Scene

SEEDS = range(8)


def every(scene: Scene, step: int = 200_000) -> list[list[Actor]]:
    return [scene.at(time) for time in range(0, scene.duration, step)]


def overlap(one: Actor, other: Actor) -> float:
    a, b = one.box, other.box
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def test_a_seed_is_a_scene() -> None:
    assert every(Scene(seed=3)) == every(Scene(seed=3))
    assert every(Scene(seed=3)) != every(Scene(seed=4))


def test_it_starts_over_after_its_duration() -> None:
    scene = Scene(seed=1, duration_s=40)
    assert scene.at(5 * SECOND) == scene.at(45 * SECOND)
    assert scene.at(0) == scene.at(scene.duration - 1) == []


def test_a_longer_scene_begins_like_a_shorter_one() -> None:
    short, long = Scene(seed=5, duration_s=20), Scene(seed=5, duration_s=200)
    assert every(short) == [long.at(time) for time in range(0, short.duration, 200_000)]
    assert len(long.walkers) > 9 * len(short.walkers)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_hides_anybody(seed: int) -> None:
    for actors in every(Scene(seed=seed)):
        pairs = [(a, b) for a in actors for b in actors if a.id < b.id]
        assert all(overlap(a, b) < 0.15 for a, b in pairs)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_act_ends_empty(seed: int) -> None:
    scene = Scene(seed=seed, duration_s=120)
    for act in range(1, 7):
        assert scene.during(act * ACT_S * SECOND - 1) == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), time=st.integers(0, 60 * SECOND - 1))
def test_boxes_lie_in_the_frame_and_feet_under_them(seed: int, time: int) -> None:
    for actor in Scene(seed=seed).at(time):
        left, top, wide, high = actor.box
        assert left >= 0
        assert top >= 0
        assert left + wide <= 1 + 1e-9
        assert top + high <= 1 + 1e-9
        assert actor.foot == (left + wide / 2, top + high)


def test_pixels_scale_the_box() -> None:
    actor = Scene(seed=7).at(5 * SECOND)[0]
    left, top, wide, high = actor.box
    assert actor.pixels(640, 360) == (left * 640, top * 360, wide * 640, high * 360)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_foot_of_a_box_is_where_its_person_walks(seed: int) -> None:
    scene = Scene(seed=seed)
    for walker in scene.walkers:
        for time in range(walker.enters_at, walker.leaves_at, 130_000):
            actor, place = walker.at(time), walker.place(time)
            if actor is not None and place is not None and 0.05 < place[0] < 0.95:
                assert actor.foot == pytest.approx(place)
