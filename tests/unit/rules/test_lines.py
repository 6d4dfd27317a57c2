"""Crossing a line: direction, settling, endpoints, steps over and back."""

from typing import Any

import pytest

from tests.unit.rules.scenes import TENTH, evaluator, fired, frames, look, rule, run, sighting


def cross(direction: str = "any") -> dict[str, Any]:
    return {"cross": {"class": "person", "line": "gate", "dir": direction}}


LEFT, RIGHT = (0.4, 0.5), (0.6, 0.5)
JUST_LEFT, JUST_RIGHT = (0.495, 0.5), (0.505, 0.5)
ON = (0.5, 0.5)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        # The line runs down the screen: who walks along it has the screen's left at his right hand.
        ([LEFT, RIGHT], [("R2L", 1)]),
        ([RIGHT, LEFT], [("L2R", 1)]),
        ([LEFT, LEFT], []),
        ([JUST_LEFT, JUST_RIGHT, JUST_RIGHT, JUST_RIGHT], []),
        ([JUST_LEFT, JUST_RIGHT, JUST_RIGHT, JUST_RIGHT, JUST_RIGHT], [("R2L", 4)]),
        ([JUST_LEFT, JUST_RIGHT, JUST_LEFT, JUST_LEFT, JUST_LEFT, JUST_LEFT], []),  # and back
        ([LEFT, ON, RIGHT], [("R2L", 2)]),  # touching it counts once
        ([LEFT, ON, ON, ON, LEFT], []),
        ([LEFT, RIGHT, LEFT], [("R2L", 1), ("L2R", 2)]),
        ([LEFT, None, None, RIGHT], [("R2L", 3)]),
        ([LEFT, *[None] * 20, RIGHT], []),  # unseen for more than 2 s: nobody saw it cross
    ],
)
def test_directions_and_settling(places: Any, expected: list[tuple[str, int]]) -> None:
    rules = [rule(cross(way), id=way) for way in ("L2R", "R2L", "any")]
    matches = run(evaluator(*rules), frames({"1": places}))
    found = [(one.rule, one.matched_at // TENTH) for one in matches if one.rule != "any"]
    assert found == expected
    assert sum(one.rule == "any" for one in matches) == len(expected)


@pytest.mark.parametrize(
    ("line", "places", "count"),
    [
        ([[0.5, 0.2], [0.5, 0.5]], [(0.4, 0.4), (0.6, 0.4)], 1),
        ([[0.5, 0.2], [0.5, 0.5]], [(0.4, 0.6), (0.6, 0.6)], 0),  # past its end
        ([[0.5, 0.2], [0.5, 0.5]], [(0.4, 0.5), (0.6, 0.5)], 1),  # through its endpoint
        ([[0.5, 0.2], [0.5, 0.5]], [(0.4, 0.5), (0.5, 0.5), (0.6, 0.5)], 1),  # standing on it
        ([[0.5, 0.2], [0.5, 0.5]], [(0.4, 0.6), (0.5, 0.6), (0.6, 0.6)], 0),
    ],
)
def test_only_the_segment_counts(line: Any, places: Any, count: int) -> None:
    assert len(fired(cross(), {"1": places}, defs={"lines": {"gate": line}})) == count


def test_feet_cross_though_the_head_passes_beyond_the_end() -> None:
    """Four-corner anchors of supervision miss this one."""
    low = {"lines": {"gate": [[0.5, 0.7], [0.5, 0.9]]}}
    made = evaluator(rule(cross(), defs=low))
    tall = [(0.4, 0.8), (0.6, 0.8)]
    looks = [look(n * TENTH, [sighting("1", place)]) for n, place in enumerate(tall)]
    assert len(run(made, looks)) == 1


def test_the_margin_is_the_better_of_time_and_distance() -> None:
    (far,) = run(evaluator(rule(cross())), frames({"1": [LEFT, RIGHT]}))
    assert far.margin == pytest.approx((0.1 - 0.02) / 0.02)
    near = [JUST_LEFT, *[JUST_RIGHT] * 4]
    (slow,) = run(evaluator(rule(cross())), frames({"1": near}))
    assert slow.margin == pytest.approx(0.0)
    assert slow.started_at == TENTH


def test_history_does_not_grow_with_tracks_that_are_gone() -> None:
    """supervision's line history grew per track id for ever."""
    made = evaluator(rule(cross()))
    for n in range(300):
        made.update(look(n * TENTH, [sighting(f"t{n}", LEFT)]))
    assert len(made.dump()) < 20_000
