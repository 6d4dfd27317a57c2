"""What a camera answers to rules over several of them: from frames to statements."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events.predicates_observed import PredicatesObserved
from shared.rules.across.teller import About, Teller
from shared.rules.document import Rule
from shared.rules.evaluator import Evaluator
from shared.rules.timeline import fixed
from shared.rules.values import Look, Match
from tests.unit.rules import oracle
from tests.unit.rules.across_scenes import across, heard, key, scene, site
from tests.unit.rules.scenes import IN, OUT, SQUARE, TENTH, Tracks, frames, look, sighting
from tests.unit.rules.test_replay import QUICK, RULES, films

SECOND = 1_000_000


class Told:
    """One camera: its evaluator, and what it says."""

    def __init__(self, camera: str, rules: Sequence[Rule]) -> None:
        self.camera = camera
        self.rules = list(rules)
        self.evaluator = Evaluator(camera, fixed(scene(camera), self.rules))
        self.teller = Teller(self.evaluator)
        self.said: list[PredicatesObserved] = []
        self.matches: list[Match] = []

    def about(self) -> About:
        return About(site="home", camera=self.camera, camera_version=1, epoch=1, seq=0, said_at=0)

    def look(self, one: Look) -> None:
        step = self.evaluator.update(one)
        self.matches += step.matches
        if self.evaluator.asked:
            self.keep(self.teller.frame(one.at, self.about, changed=step.answers))

    def mark(self, at: int) -> None:
        self.evaluator.mark(at)
        self.keep(self.teller.mark(at, self.about))

    def keep(self, said: PredicatesObserved | None) -> None:
        self.said += [said] if said is not None else []

    def moved(self) -> "Told":
        """The same on another machine."""
        other = Told(self.camera, self.rules)
        other.evaluator.load(self.evaluator.dump())
        other.teller.said_at = self.teller.said_at
        other.said, other.matches = self.said, self.matches
        return other


def answers(match: dict[str, Any], tracks: Tracks) -> list[tuple[int, str]]:
    """(tenth of a second, who) of every statement; a star marks who holds it for a moment alone."""
    told = Told("a", [across(match)])
    for one in frames(tracks):
        told.look(one)
    return [
        (
            one.observed_at // TENTH,
            "+".join(h.track + "*" * h.momentary for h in one.answers[0].holders),
        )
        for one in told.said
    ]


def test_a_moment_is_said_in_its_frame_and_never_again() -> None:
    walk = {"1": [OUT] * 3 + [IN] * 12}
    said = answers({"enter": {"camera": "a", "zone": "door"}}, walk)
    assert said == [(0, ""), (7, "1*"), (10, "")]


def test_what_lasts_is_said_when_it_begins_and_ends_and_every_second() -> None:
    walk = {"1": [IN] * 22 + [OUT] * 14}
    said = answers({"dwell": {"camera": "a", "zone": "door", "min": "700ms"}}, walk)
    assert said == [(0, ""), (7, "1"), (10, "1"), (20, "1"), (30, "1"), (32, "")]


def test_a_count_over_cameras_asks_each_who_is_there() -> None:
    walk: Tracks = {"1": [IN] * 12 + [None] * 30, "2": [OUT] * 10 + [IN] * 32}
    said = answers({"count": {"across": "cameras", "zone": "door", "op": ">", "n": 5}}, walk)
    assert [one for one in said if one[0] % 10] == [(4, "1"), (14, "1+2"), (32, "2")]


def test_a_camera_that_nobody_asks_says_nothing() -> None:
    told = Told("b", [across({"enter": {"camera": "a", "zone": "door"}}), *RULES])
    for one in frames({"1": [IN] * 20}):
        told.look(one)
    assert (told.said, told.evaluator.asked) == ([], False)
    assert told.evaluator.answers(0) == ()


def test_an_outage_is_said_with_what_it_leaves_unknown() -> None:
    told = Told("a", [across({"dwell": {"camera": "a", "zone": "door", "min": "4s"}})])
    for n in (0, 1, 2, 3, 30, 31, 32):
        told.look(look(n * TENTH, [sighting("1", IN)]))
    gapped = told.said[-1]
    assert gapped.observed_at == 30 * TENTH
    assert [(gap.since, gap.until) for gap in gapped.gaps] == [(3 * TENTH, 30 * TENTH)]
    assert gapped.answers[0].unknown
    assert not told.said[0].answers[0].unknown


def test_heartbeats_alone_say_that_all_is_as_it_was() -> None:
    told = Told("a", [across({"dwell": {"camera": "a", "zone": "door", "min": "500ms"}})])
    for n in range(8):
        told.look(look(n * TENTH, [sighting("1", IN)]))
    for second in range(1, 4):
        told.mark(second * SECOND)
        told.mark(second * SECOND + 1)
    assert [one.observed_at // TENTH for one in told.said] == [0, 5, 10, 20, 30]
    assert {one.answers[0].holders[0].track for one in told.said[1:]} == {"1"}


def test_a_change_in_a_frame_behind_a_heartbeat_is_said_after_it() -> None:
    told = Told("a", [across({"enter": {"camera": "a", "zone": "door"}})])
    for n in range(4):
        told.look(look(n * TENTH, [sighting("1", IN)]))
    told.mark(SECOND)
    told.look(look(4 * TENTH, [sighting("1", IN)]))
    assert [one.observed_at for one in told.said] == [0, SECOND, SECOND + 1]
    assert [holder.momentary for holder in told.said[-1].answers[0].holders] == [True]


BUSY = [
    across({"count": {"across": "cameras", "zone": "door", "op": ">=", "n": 2}}, id="together"),
    across({"distinct": {"of": {"any": [{"enter": {"zone": "door"}}, {"leave": {"zone": "door"}}]},
                         "op": ">=", "n": 2, "within": "3s"}}, id="busy"),
    across({"count": {"camera": "cam", "op": ">=", "n": 2, "zone": "door"}}, id="here"),
]  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, phases=QUICK)
@given(films(), st.data())
def test_rules_of_one_camera_see_nothing_of_it_and_a_checkpoint_changes_nothing(
    film: list[Look], data: st.DataObject
) -> None:
    alone, told, moved = (
        Told("cam", RULES),
        Told("cam", [*RULES, *BUSY]),
        Told("cam", [*RULES, *BUSY]),
    )
    cut = data.draw(st.integers(0, len(film)))
    for n, one in enumerate(film):
        moved = moved.moved() if n == cut else moved
        for each in (alone, told, moved):
            each.look(one)
    assert alone.matches == told.matches == moved.matches
    assert alone.evaluator.readings() == told.evaluator.readings()
    assert told.said == moved.said
    assert told.evaluator.dump() == moved.evaluator.dump()


@pytest.mark.parametrize("seed", range(12))
def test_a_count_over_cameras_is_that_of_everybody_together(seed: int) -> None:
    """Against the naive reading of one camera, with the tracks of three put together."""
    chance = random.Random(seed)
    rule = across({"count": {"across": "cameras", "zone": "door", "op": ">=", "n": 3}})
    cameras = {name: Told(name, [rule]) for name in "abc"}
    paths = {f"{name}{n}": oracle.Path(f"{name}{n}") for name in cameras for n in range(3)}
    inside = {track: chance.random() < 0.5 for track in paths}
    times = [n * TENTH for n in range(250)]
    for at in times:
        for name, told in cameras.items():
            seen = []
            for track in (track for track in paths if track[0] == name):
                inside[track] ^= chance.random() < 0.02
                place = IN if inside[track] else OUT
                seen.append(sighting(track, place))
                paths[track].times.append(at)
                paths[track].feet.append(place)
            told.look(look(at, seen))
    said = sorted(
        (one for told in cameras.values() for one in told.said),
        key=lambda one: (one.observed_at, one.camera),
    )
    ends = [one for told in cameras.values() for one in _end(told)]
    found = heard(site(rule), [*said, *ends]).completed
    expected = oracle.counts("rule", list(paths.values()), list(SQUARE), 3, 0, times)
    assert [(one.match.matched_at, tuple(sorted(one.match.tracks))) for one in found] == [
        (one.at, one.tracks) for one in expected
    ]
    assert expected
    assert key(rule) == said[0].answers[0].question


def _end(told: Told) -> list[PredicatesObserved]:
    before = len(told.said)
    for second in range(25, 60):
        told.mark(second * SECOND)
    return told.said[before:]
