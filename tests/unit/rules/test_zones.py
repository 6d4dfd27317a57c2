"""Enter, leave, dwell and count: hysteresis in seconds, gaps, anchors."""

from typing import Any

import pytest

from shared.rules.areas import overlap
from tests.unit.rules.scenes import (
    IN,
    SQUARE,
    away,
    evaluator,
    fired,
    frames,
    look,
    rule,
    run,
    sighting,
    there,
    unseen,
)

ENTER = {"enter": {"class": "person", "zone": "door"}}
LEAVE = {"leave": {"zone": "door"}}


def dwell(minimum: str, **more: object) -> dict[str, Any]:
    return {"dwell": {"class": "person", "zone": "door", "min": minimum, **more}}


def count(n: int, **more: object) -> dict[str, Any]:
    return {"count": {"class": "person", "zone": "door", "op": ">=", "n": n, **more}}


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (there(4), []),
        (there(5), [4]),
        (away(3) + there(5), [7]),
        (there(3) + away(1) + there(4), []),
        (there(3) + away(1) + there(5), [8]),
        (there(2) + unseen(19) + there(1), [21]),  # 2 s unseen keep the state
        (there(3) + unseen(20) + there(1), []),  # longer ends it
        (there(9) + away(5) + there(9), [4]),  # half a second outside is no leaving
        (there(9) + away(11) + there(9), [4, 24]),
    ],
)
def test_enter_needs_two_fifths_of_a_second_inside(places: Any, expected: list[int]) -> None:
    assert [at for at, _ in fired(ENTER, {"1": places})] == expected


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (there(9) + away(10), []),
        (there(9) + away(11), [19]),
        (there(9) + away(9) + there(1) + away(11), [29]),
        (there(3) + away(20), []),  # who never entered cannot leave
        (there(9) + unseen(40), []),  # who vanished inside was not seen leaving
        (there(9) + away(1) + unseen(14) + away(1), [24]),
    ],
)
def test_leave_needs_a_second_outside(places: Any, expected: list[int]) -> None:
    assert [at for at, _ in fired(LEAVE, {"1": places})] == expected


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (there(30), []),
        (there(31), [30]),
        (away(5) + there(31), [35]),
        (there(20) + away(5) + there(10), [30]),  # stepping out for half a second
        (there(20) + away(12) + there(30), []),  # leaving resets it
        (there(20) + away(12) + there(31), [62]),
        (there(25) + unseen(15) + there(1), [40]),
        (there(25) + unseen(21) + there(30), []),
        (there(31) + away(12) + there(31), [30, 73]),  # once a stay
        (there(100), [30]),
        (there(30) + away(12), []),  # 2.9 s inside, then gone: not 3 s
        (there(29) + away(5) + there(5), [34]),
    ],
)
def test_dwell_counts_from_the_first_sample_inside(places: Any, expected: list[int]) -> None:
    assert [at for at, _ in fired(dwell("3s"), {"1": places})] == expected


def test_dwell_shorter_than_entering_waits_for_it() -> None:
    assert fired(dwell("100ms"), {"1": there(9)}) == [(4, "1")]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (there(21) + away(15) + there(12), [46]),  # 2 s and 1 s within 5 s
        (there(21) + away(40) + there(15), []),  # the first stay has left the window
        (there(31), [30]),
    ],
)
def test_cumulative_dwell_adds_up_over_its_window(places: Any, expected: list[int]) -> None:
    match = dwell("3s", mode="cumulative", window="5s")
    assert [at for at, _ in fired(match, {"1": places})] == expected


def test_a_standing_dwell_begins_anew_where_the_track_has_moved() -> None:
    match = dwell("2s", max_move=0.02)
    paces = [(0.3 + 0.012 * n, 0.5) for n in range(30)]
    assert fired(match, {"1": paces}) == []
    assert fired(match, {"1": [*paces, *[paces[-1]] * 21]}) == [(48, "1")]


def test_other_classes_are_not_asked() -> None:
    match = run(
        evaluator(rule(ENTER)), [look(n * 100_000, [sighting("1", IN, "dog")]) for n in range(9)]
    )
    assert match == []


@pytest.mark.parametrize(
    ("lasting", "expected"),
    [("0s", [(9, "1+2")]), ("1s", [(19, "1+2")]), ("5s", [])],
)
def test_count_of_distinct_tracks(lasting: str, expected: list[tuple[int, str]]) -> None:
    tracks = {"1": there(40), "2": away(5) + there(30) + away(12)}
    assert fired(count(2, **{"for": lasting}), tracks) == expected


def test_count_keeps_who_is_unseen_for_a_moment() -> None:
    tracks = {"1": there(40), "2": there(10) + unseen(15) + there(15)}
    assert fired(count(2, **{"for": "3s"}), tracks) == [(34, "1+2")]


def test_count_drops_who_is_gone() -> None:
    tracks = {"1": there(60), "2": there(10) + unseen(50)}
    assert fired({"count": {"zone": "door", "op": "<", "n": 2, "for": "1s"}}, tracks)[-1] == (
        40,
        "1",
    )


@pytest.mark.parametrize(
    ("op", "n", "holds"),
    [
        (">=", 2, True),
        (">", 2, False),
        ("<=", 1, False),
        ("<", 3, True),
        ("==", 2, True),
        ("!=", 2, False),
    ],
)
def test_count_compares(op: str, n: int, holds: bool) -> None:
    made = evaluator(rule({"count": {"op": op, "n": n}}))
    run(made, frames({"1": there(3), "2": there(3)}))
    (reading,) = made.readings()
    assert (reading.value == 1) is holds
    assert (reading.margin >= 0) is holds


def test_a_held_track_stays_and_a_given_up_one_goes() -> None:
    made = evaluator(rule(dwell("3s")))
    seen = [look(n * 100_000, [sighting("1", IN)], frozenset()) for n in range(10)]
    held = [look(n * 100_000, [], frozenset({"1"})) for n in range(10, 60)]  # nobody looked there
    back = [look(60 * 100_000, [sighting("1", IN)], frozenset())]
    assert [one.matched_at for one in run(made, [*seen, *held, *back])] == [6_000_000]
    made = evaluator(rule(dwell("3s")))
    gone = [look(n * 100_000, [], frozenset()) for n in range(10, 12)]
    again = [look(n * 100_000, [sighting("1", IN)], frozenset()) for n in range(12, 42)]
    assert run(made, [*seen, *gone, *again]) == []


def test_a_wide_box_whose_feet_are_outside_is_outside() -> None:
    """supervision 0.27 counted it as inside."""
    from shared.rules.values import Sighting

    wide = Sighting("1", "person", (100.0, 300.0, 800.0, 600.0), 0)
    made = evaluator(
        rule(ENTER), rule({"enter": {"zone": "door", "anchor": "centre"}}, id="centre")
    )
    matches = run(made, [look(n * 100_000, [wide]) for n in range(9)])
    assert [one.rule for one in matches] == ["centre"]


def test_overlap_asks_for_a_share_of_the_box() -> None:
    half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    assert overlap(half, (0.4, 0.4, 0.2, 0.2)) == pytest.approx(0.5)
    notched = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0))
    assert overlap(notched, (0.0, 0.0, 1.0, 1.0)) == pytest.approx(0.75)
    for share, expected in (("0.4", 1), ("0.6", 0)):
        asked = rule({"enter": {"zone": "door", "anchor": f"overlap>={share}"}})
        half_in = [look(n * 100_000, [sighting("1", (0.2, 0.5))]) for n in range(9)]
        assert len(run(evaluator(asked), half_in)) == expected


def test_the_boundary_is_inside() -> None:
    on_it = [SQUARE[0]] * 5
    assert fired(ENTER, {"1": on_it}) == [(4, "1")]
