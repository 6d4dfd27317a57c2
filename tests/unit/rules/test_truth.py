"""Three values: an outage is not an absence. Margins, near misses, joins."""

from typing import Any

import pytest

from shared.rules.health import Health
from shared.rules.truth import FALSE, TRUE, UNKNOWN, Either, Every, Negation, One
from tests.unit.rules.scenes import (
    IN,
    TENTH,
    away,
    evaluator,
    fired,
    frames,
    look,
    rule,
    run,
    sighting,
    steps,
    there,
)

DWELL: dict[str, Any] = {"dwell": {"class": "person", "zone": "door", "min": "3s"}}
ENTER: dict[str, Any] = {"enter": {"zone": "door"}}
VALUES = (TRUE, UNKNOWN, FALSE)


@pytest.mark.parametrize("a", VALUES)
@pytest.mark.parametrize("b", VALUES)
def test_kleene(a: int, b: int) -> None:
    true = (a == TRUE) | (b == TRUE) << 1
    unknown = (a == UNKNOWN) | (b == UNKNOWN) << 1
    both = One(0), One(1)
    assert Every(both).value(true, unknown) == min(a, b)
    assert Either(both).value(true, unknown) == max(a, b)
    assert Negation(One(0)).value(true, unknown) == -a


def test_a_camera_that_was_away_is_unknown_then_known_again() -> None:
    made = evaluator(rule(DWELL))
    before = [look(n * TENTH, [sighting("1", IN)], frozenset()) for n in range(20)]
    after = [look(n * TENTH, [sighting("1", IN)], frozenset()) for n in range(35, 80)]
    found = steps(made, [*before, *after])
    (gap,) = [gap for step in found for gap in step.gaps]
    assert (gap.since, gap.until, gap.at) == (19 * TENTH, 35 * TENTH, 35 * TENTH)
    (match,) = [match for step in found for match in step.matches]
    # 3 s were over at 3.0 s; it fires once all but 5 % of the last 3 s are covered again.
    assert match.matched_at == 64 * TENTH  # 0.1 of 3 s is still uncovered, 0.2 would be too much


def test_an_interruption_counts_from_since_to_until() -> None:
    made = evaluator(rule(DWELL))
    run(made, [look(n * TENTH, [sighting("1", IN)], frozenset()) for n in range(25)])
    made.interrupted(24 * TENTH, 34 * TENTH)
    step = made.update(look(35 * TENTH, [sighting("1", IN)], frozenset()))
    assert [gap.rule for gap in step.gaps] == ["rule"]
    assert step.matches == []
    assert [reading.value for reading in made.readings()] == [UNKNOWN]


def test_not_over_unknown_stays_unknown() -> None:
    made = evaluator(rule({"not": {"count": {"op": ">=", "n": 1, "for": "3s"}}}))
    run(made, [look(n * TENTH, [sighting("1", IN)]) for n in range(40)])
    assert [one.value for one in made.readings()] == [FALSE]
    step = made.update(
        look(70 * TENTH)
    )  # back after 3 s without a mark: nobody there, but who knows
    assert step.matches == []
    assert [one.value for one in made.readings()] == [UNKNOWN]
    assert len(run(made, [look(n * TENTH) for n in range(71, 120)])) == 1


def test_heartbeats_cover_what_no_frame_does() -> None:
    made = evaluator(rule(DWELL))
    made.update(look(0, [sighting("1", IN)], frozenset()))
    for second in range(1, 4):
        made.mark(second * 1_000_000)
    step = made.update(look(40 * TENTH, [sighting("1", IN)], frozenset()))
    assert step.gaps == []


def test_entering_is_not_confirmed_across_an_outage_and_not_lost_by_it() -> None:
    made = evaluator(rule(ENTER))
    first = look(0, [sighting("1", IN)], frozenset())
    after = [look(15 * TENTH + n * TENTH, [sighting("1", IN)], frozenset()) for n in range(6)]
    (match,) = run(made, [first, *after])
    assert match.matched_at == 19 * TENTH
    assert match.started_at == 0


def test_five_percent_is_tolerated() -> None:
    health = Health(memory=100_000_000)
    health.mark(0, 100_000)
    health.mark(2_000_000)
    for second in range(3, 42):
        health.mark(second * 1_000_000)
    assert not health.unknown(40_000_000, 40_000_000)
    assert health.unknown(39_999_999, 39_999_999)


def test_overlapping_gaps_count_once() -> None:
    health = Health(memory=100_000_000)
    health.mark(0)
    health.away(1_000_000, 5_000_000)
    health.away(2_000_000, 6_000_000)
    health.mark(6_500_000)
    assert health.last_gap() == (1_000_000, 6_000_000)
    health.mark(7_000_000)
    assert health.unknown(7_000_000, 6_000_000)


def test_all_any_not_join_what_holds_together() -> None:
    old = {"min_track_age": "2s"}
    assert fired({"all": [ENTER, old]}, {"1": there(30)}) == []  # entered too young
    assert fired({"all": [ENTER, old]}, {"1": away(25) + there(9)}) == [(29, "1")]
    assert fired({"all": [DWELL, {"not": ENTER}]}, {"1": there(40)}) == [(30, "1")]
    assert fired({"any": [ENTER, DWELL]}, {"1": there(40)}) == [(4, "1"), (30, "1")]
    alone = {"all": [DWELL, {"count": {"zone": "door", "op": "<=", "n": 1}}]}
    assert fired(alone, {"1": there(50), "2": there(35) + away(15)}) == [(45, "1")]


def test_a_pulse_that_follows_a_pulse_is_a_match_of_its_own() -> None:
    cross = {"cross": {"line": "gate"}}
    hops = [(0.4, 0.5), (0.6, 0.5)] * 2
    made = evaluator(rule(cross))
    looks = list(frames({"1": hops}, step=1_000_000))
    assert [one.matched_at for one in run(made, looks)] == [1_000_000, 2_000_000, 3_000_000]


@pytest.mark.parametrize(
    ("tenths", "near"), [(20, []), (22, []), (23, [pytest.approx(-0.2333, abs=1e-3)]), (31, [])]
)
def test_near_misses(tenths: int, near: list[object]) -> None:
    made = evaluator(rule(DWELL))
    found = steps(made, frames({"1": there(tenths + 1) + away(12)}))
    assert [one.margin for step in found for one in step.near_misses] == near


def test_readings_tell_value_and_margin_of_every_rule_and_track() -> None:
    both = rule({"all": [DWELL, {"count": {"op": ">=", "n": 1}}]})
    made = evaluator(both)
    run(made, frames({"1": there(16), "2": away(16)}))
    readings = {one.track: (one.value, round(one.margin, 3)) for one in made.readings()}
    assert readings == {"1": (FALSE, -0.5), "2": (FALSE, -1.0)}


def test_margins_of_matches() -> None:
    (entered,) = run(evaluator(rule(ENTER)), frames({"1": there(6)}))
    assert entered.margin == pytest.approx(0.3 / 0.6)
    out = [(0.1, 0.5)] * 11
    left = run(evaluator(rule({"leave": {"zone": "door"}})), frames({"1": [*there(6), *out]}))
    assert [one.margin for one in left] == [pytest.approx(0.1 / 0.6)]
    crowd = {"count": {"zone": "door", "op": ">=", "n": 2}}
    tracks = {name: there(6) for name in "123"}
    (counted,) = run(evaluator(rule(crowd)), frames(tracks))
    assert counted.margin == pytest.approx(0.5)
    assert counted.group == "cam/zone=door"
