"""Rules over several cameras against a naive reading; in whatever order statements come, wherever a checkpoint is."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events.predicates_observed import PredicatesObserved
from shared.rules.across.site import Outcomes, Site
from shared.rules.document import Rule
from tests.unit.rules import across_oracle as oracle
from tests.unit.rules.across_scenes import (
    CAMERAS,
    SECOND,
    across,
    endings,
    heard,
    histories,
    story,
)
from tests.unit.rules.test_replay import QUICK

ENTER = {"enter": {"zone": "door"}}
DWELL = {"dwell": {"zone": "door", "min": "2s"}}
INSIDE = {"across": "cameras", "zone": "door"}
EVERY = {"cameras": CAMERAS}

Case = tuple[dict[str, Any], dict[str, Any], bool]
CASES: dict[str, Case] = {
    "both": (
        {
            "all": [
                {"dwell": {"camera": "a", "zone": "door", "min": "2s"}},
                {"enter": {"camera": "b", "zone": "door", "within": "5s"}},
            ]
        },
        {
            "all": [
                {"on": {"camera": "a", "part": "dwell"}},
                {"on": {"camera": "b", "part": "enter", "within": 5 * SECOND}},
            ]
        },
        False,
    ),
    "either": (
        {
            "any": [
                {"enter": {"camera": "a", "zone": "door"}},
                {"dwell": {"camera": "b", "zone": "door", "min": "2s"}},
            ]
        },
        {
            "any": [
                {"on": {"camera": "a", "part": "enter"}},
                {"on": {"camera": "b", "part": "dwell"}},
            ]
        },
        False,
    ),
    "without": (
        {
            "all": [
                {"enter": {"camera": "a", "zone": "door", "within": "3s"}},
                {"not": {"dwell": {"camera": "b", "zone": "door", "min": "2s", "within": "2s"}}},
            ]
        },
        {
            "all": [
                {"on": {"camera": "a", "part": "enter", "within": 3 * SECOND}},
                {"not": {"on": {"camera": "b", "part": "dwell", "within": 2 * SECOND}}},
            ]
        },
        False,
    ),
    "crowd": (
        {"count": {**INSIDE, "op": ">=", "n": 3}},
        {"count": {**EVERY, "part": "present", "op": ">=", "n": 3}},
        False,
    ),
    "calm": (
        {"count": {**INSIDE, "op": "<=", "n": 1, "for": "4s"}},
        {"count": {**EVERY, "part": "present", "op": "<=", "n": 1, "for": 4 * SECOND}},
        True,
    ),
    "exact": (
        {"count": {**INSIDE, "op": "==", "n": 2}},
        {"count": {**EVERY, "part": "present", "op": "==", "n": 2}},
        True,
    ),
    "cameras": (
        {"distinct": {"of": ENTER, "field": "camera", "op": ">=", "n": 2, "within": "6s"}},
        {"distinct": {**EVERY, "part": "enter", "field": "camera", "op": ">=", "n": 2, "within": 6 * SECOND}},
        True,
    ),
    "tracks": (
        {"distinct": {"of": DWELL, "field": "track", "op": "<", "n": 3, "within": "4s"}},
        {"distinct": {**EVERY, "part": "dwell", "field": "track", "op": "<", "n": 3, "within": 4 * SECOND}},
        False,
    ),
    "zones": (
        {"distinct": {"of": ENTER, "field": "zone", "op": "==", "n": 2, "within": "2s"}},
        {"distinct": {**EVERY, "part": "enter", "field": "zone", "op": "==", "n": 2, "within": 2 * SECOND}},
        True,
    ),
}  # fmt: skip


def made(name: str) -> tuple[Rule, dict[str, str]]:
    """The rule of a case, and the keys of its parts by the name of what they ask."""
    document, _, named = CASES[name]
    scope = {"cameras": list(CAMERAS)} if named else {}
    rule = across(document, id=name, scope=scope)
    return rule, {next(part.condition.asked()).name: part.key for part in rule.parts.values()}


RULES = {name: made(name) for name in CASES}
KEYS = sorted({key for _, keys in RULES.values() for key in keys.values()})


def fired(outcomes: Outcomes) -> dict[str, list[oracle.Fired]]:
    found: dict[str, list[oracle.Fired]] = {name: [] for name in CASES}
    for one in outcomes.completed:
        match = one.match
        tracks = frozenset(match.tracks)
        found[match.rule].append(
            oracle.Fired(
                match.rule, match.matched_at, one.frame.event.camera, tracks, match.cameras
            )
        )
    return found


def everything() -> Site:
    return Site("home", *histories(rule for rule, _ in RULES.values()))


def told(statements: list[PredicatesObserved]) -> list[PredicatesObserved]:
    return [*statements, *endings(CAMERAS, 100_000)]


seeds = st.integers(0, 1 << 32)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None, derandomize=True, phases=QUICK)
@given(seeds)
def test_a_naive_reading_says_the_same(name: str, seed: int) -> None:
    rule, keys = RULES[name]
    statements = story(seed, sorted(keys.values()))
    place = Site("home", *histories([rule]))
    found = fired(heard(place, told(statements)))[name]
    named = frozenset(rule.head.scope.cameras) | {c for p in rule.parts.values() for c in p.cameras}
    asked = named or frozenset(CAMERAS)
    own = [one for one in statements if one.camera in asked]
    assert found == oracle.fires(name, CASES[name][1], keys, own, named)


def disorder(statements: list[PredicatesObserved], seed: int) -> list[PredicatesObserved]:
    """The same, with every statement up to 3 s late."""
    chance = random.Random(seed)
    due = [(one.observed_at + chance.randint(0, 3 * SECOND), chance.random()) for one in statements]
    return [statements[n] for n in sorted(range(len(statements)), key=lambda n: due[n])]


@settings(max_examples=40, deadline=None, derandomize=True, phases=QUICK)
@given(seeds)
def test_three_seconds_late_is_in_time(seed: int) -> None:
    statements = story(seed, KEYS)
    straight = heard(everything(), told(statements))
    late = heard(everything(), told(disorder(statements, seed)))
    assert fired(straight) == fired(late)
    assert (straight.late, late.late) == (0, 0)
    assert {(gap.rule, gap.at) for gap in straight.gaps} == {
        (gap.rule, gap.at) for gap in late.gaps
    }


@settings(max_examples=15, deadline=None, derandomize=True, phases=QUICK)
@given(seeds)
def test_a_checkpoint_anywhere_and_a_second_said_again_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    statements = told(disorder(story(seed, KEYS), seed))
    live = everything()
    straight = heard(live, statements)
    place, found = everything(), Outcomes()
    cuts = {chance.randint(1, len(statements)) for _ in range(3)}
    for n, one in enumerate(statements):
        if n in cuts:
            state = place.dump()
            place = everything()
            place.load(state)
            assert place.dump() == state
            again = heard(place, statements[max(0, n - 5) : n], first=1_000)
            assert (again.completed, again.gaps) == ([], [])
        outcomes = heard(place, [one], first=n)
        found.completed += outcomes.completed
        found.gaps += outcomes.gaps
    assert (found.completed, found.gaps) == (straight.completed, straight.gaps)
    assert place.waiting == live.waiting


@settings(max_examples=20, deadline=None, derandomize=True, phases=QUICK)
@given(seeds)
def test_the_backlog_of_one_camera_before_that_of_another_is_in_time(seed: int) -> None:
    statements = told(story(seed, KEYS))
    at_once = [msgspec.structs.replace(one, said_at=0) for one in statements]
    straight = heard(everything(), statements)
    backlog = heard(everything(), sorted(at_once, key=lambda one: one.camera))
    assert fired(straight) == fired(backlog)
    assert backlog.late == 0
