"""The expected incidents of the yard, and when an outage would change none of them."""

import pytest

from shared.sim.scene import SECOND, Scene
from shared.sim.truth import calm, truth


@pytest.mark.parametrize("seed", range(4))
def test_a_minute_has_six_incidents(seed: int) -> None:
    rules = sorted(expected.rule for expected in truth(Scene(seed=seed)))
    assert rules == ["door", "door", "fence", "fence", "gate", "gate"]


def test_the_first_act_has_one_of_each() -> None:
    expected = truth(Scene(seed=7, duration_s=20))
    assert sorted(one.rule for one in expected) == ["door", "fence", "gate"]
    assert [one.at for one in expected] == sorted(one.at for one in expected)
    assert len({one.actor for one in expected}) == 3


def test_a_scene_that_is_cut_off_early_has_only_what_came_before() -> None:
    scene = Scene(seed=7, duration_s=8)
    assert [one.rule for one in truth(scene)] == ["gate"]


def test_the_gate_counts_one_direction_only() -> None:
    scene = Scene(seed=7)
    through = [w for w in scene.walkers if {w.legs[0].a[0], w.legs[-1].b[0]} == {-0.04, 1.04}]
    rightward = [w for w in through if w.legs[0].a[0] < 0]
    assert len(through) > len(rightward) == 2
    assert {one.actor for one in truth(scene) if one.rule == "gate"} == {w.id for w in rightward}


@pytest.mark.parametrize("seed", range(4))
def test_calm_spans_keep_clear_of_every_incident(seed: int) -> None:
    scene = Scene(seed=seed)
    spans = calm(scene)
    assert sum(span.end - span.start for span in spans) > 10 * SECOND
    for expected in truth(scene):
        for span in spans:
            assert expected.at < span.start or span.end <= expected.at - SECOND
