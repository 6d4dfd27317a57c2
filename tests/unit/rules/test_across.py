"""Rules over several cameras, one clause at a time: three values, windows, watermarks, versions, groups."""

from typing import Any

import msgspec
import pytest

from schemas.events.predicates_observed import Answer, PredicatesObserved
from shared.rules.across.site import Outcomes, Site
from shared.rules.document import Rule
from tests.unit.rules.across_scenes import (
    CAMERAS,
    SECOND,
    START,
    TENTH,
    across,
    endings,
    heard,
    histories,
    holder,
    key,
    matched,
    said,
    scene,
    site,
)

CROWD = {"count": {"across": "cameras", "zone": "door", "op": ">=", "n": 3}}
SCOPE = {"cameras": ["a", "b", "c"]}


def seconds(
    rule: Rule, story: dict[str, list[str | None]], **fields: Any
) -> list[PredicatesObserved]:
    """One statement a camera and second: the tracks there are, a letter each; None: it says nothing."""
    question = key(rule)
    found = []
    for camera, tracks in story.items():
        for n, present in enumerate(tracks):
            if present is not None:
                seen = [holder(f"{camera}{one}") for one in present]
                found.append(said(camera, n * 10, {question: seen}, **fields))
    return sorted(found, key=lambda one: (one.observed_at, one.camera))


def run(rule: Rule, story: dict[str, list[str | None]]) -> Outcomes:
    """What follows from a story that goes on for long after."""
    return heard(site(rule), [*seconds(rule, story), *endings(story, 10_000)])


def test_a_count_is_over_all_cameras_together() -> None:
    rule = across(CROWD, scope=SCOPE)
    found = run(rule, {"a": ["", "1", "12", "12"], "b": ["", "1", "1", ""], "c": [""] * 4})
    assert matched(found) == [(20, "a1+a2+b1")]
    (one,) = found.completed
    assert one.match.cameras == ("a", "b")
    assert (one.match.camera, one.frame.event.camera) == ("a", "a")  # a2 came last
    assert one.match.group == "site=home"
    assert one.match.margin == 0.0


def test_a_camera_that_is_away_is_unknown_and_what_others_see_counts() -> None:
    rule = across(CROWD, scope=SCOPE)
    away: dict[str, list[str | None]] = {"a": ["", "", "12", "12"], "b": ["", "", "1", "1"]}
    assert matched(run(rule, away)) == [(20, "a1+a2+b1")]
    few = across({"count": {**CROWD["count"], "op": "<", "n": 1}}, scope=SCOPE)
    assert matched(run(few, {"a": [""] * 30, "b": [""] * 30})) == []
    assert matched(run(few, {"a": [""] * 30, "b": [""] * 30, "c": [""] * 30})) == [(0, "")]


def test_an_outage_is_no_absence_and_is_said_once() -> None:
    rule = across(
        {"all": [{"enter": {"camera": "a", "zone": "door"}},
                 {"not": {"dwell": {"camera": "b", "zone": "door", "min": "2s"}}}]}
    )  # fmt: skip
    enters, dwells = key(rule, 0), key(rule, 1)
    lively = [said("a", n * 10, {enters: []}) for n in range(40)]
    lively[5] = said("a", 50, {enters: [holder("a1", momentary=True)]})
    lively[20] = said("a", 200, {enters: [holder("a2", momentary=True)]})
    alone = [said("b", n * 10, {dwells: []}) for n in range(9)]
    back = [said("b", n * 10, {dwells: []}) for n in range(30, 40)]
    again = [said("a", 350, {enters: [holder("a3", momentary=True)]})]
    story = [*lively[:35], *again, *lively[36:], *alone, *back, *endings("ab", 10_000)]
    found = heard(site(rule), sorted(story, key=lambda one: (one.observed_at, one.camera)))
    assert matched(found) == [(50, "a1"), (350, "a3")]
    assert [(gap.camera, (gap.since - START) // TENTH, (gap.at - START) // TENTH)
            for gap in found.gaps if gap.at < START + 400 * SECOND] == [("b", 80, 110)]  # fmt: skip


def test_not_of_unknown_is_unknown() -> None:
    rule = across({"not": {"enter": {"camera": "b", "zone": "door", "within": "2s"}}})
    question = key(rule)
    unknown = [said("b", n * 10, {question: None}) for n in range(10)]
    known = [said("b", n * 10, {question: []}) for n in range(10, 20)]
    found = heard(site(rule), [*unknown, *known, *endings("b", 10_000)])
    assert matched(found) == [(120, "")]  # two seconds are known again


def test_before_anybody_was_asked_nothing_is_known() -> None:
    rule = across({"not": {"enter": {"camera": "b", "zone": "door", "within": "5s"}}})
    story = [said("b", n * 10, {key(rule): []}) for n in range(10)]
    assert matched(heard(site(rule), [*story, *endings("b", 10_000)])) == [(50, "")]


@pytest.mark.parametrize(
    ("field", "expected"),
    [("track", 20), ("camera", 20), ("zone", None), ("class", 10)],
)
def test_distinct_things_within_a_window(field: str, expected: int | None) -> None:
    rule = across(
        {"distinct": {"of": {"enter": {"zone": "door"}}, "field": field, "op": ">=", "n": 2,
                      "within": "2s"}}
    )  # fmt: skip
    question = key(rule)

    def entered(camera: str, tenths: int, track: str, label: str) -> PredicatesObserved:
        return said(camera, tenths, {question: [holder(track, momentary=True, label=label)]})

    story = [
        *(said(camera, 0, {question: []}) for camera in "ab"),
        entered("a", 10, "a1", "person"),
        said("b", 10, {question: []}),
        entered("a", 20, "a1", "person"),
        entered("b", 20, "b1", "person"),
        *endings("ab", 10_000),
    ]
    story[2] = said("a", 10, {question: [holder("a1", momentary=True, label="person"),
                                         holder("a1", momentary=True, label="dog")]})  # fmt: skip
    if field == "class":
        story[2] = said("a", 10, {question: [holder("a1", momentary=True, label="person"),
                                             holder("a2", momentary=True, label="dog")]})  # fmt: skip
    found = [at for at, _ in matched(heard(site(rule), story))]
    assert found[:1] == ([] if expected is None else [expected])


def test_a_window_ends_with_its_last_microsecond() -> None:
    rule = across(
        {"all": [{"enter": {"camera": "a", "zone": "door", "within": "2s"}},
                 {"enter": {"camera": "b", "zone": "door"}}]}
    )  # fmt: skip
    (question,) = {part.key for part in rule.parts.values()}
    came = {question: [holder("t", momentary=True)]}
    for at, expected in ((20, [(30, "t+t")]), (21, [(30, "t+t")])):
        story = [
            said("a", 10 if at == 20 else 9, came),
            said("a", 20, {question: []}),
            said("b", 30, came),
            *endings("ab", 10_000),
        ]
        assert matched(heard(site(rule), story)) == (expected if at == 20 else [])


def test_one_doubtful_camera_can_add_itself_alone() -> None:
    """Two of three cameras: where one has it and the same one is doubtful, the others cannot be two."""
    rule = across(
        {"not": {"distinct": {"of": {"dwell": {"zone": "door", "min": "2s"}}, "field": "camera",
                              "op": ">=", "n": 2, "within": "1s"}}},
        scope=SCOPE,
    )  # fmt: skip
    question = key(rule)
    story = []
    for n in range(10):
        sees = {question: [holder("a1")]}
        story += [said("a", n * 10, sees), *(said(c, n * 10, {question: []}) for c in "bc")]
    unsure = [msg for msg in story if msg.camera != "a"]
    doubt = [said("a", n * 10, [*_doubtful(question)]) for n in range(10)]
    expected = [(10, "")]
    assert matched(heard(site(rule), [*story, *endings(CAMERAS, 10_000)])) == expected
    doubtful = sorted([*unsure, *doubt], key=lambda one: (one.observed_at, one.camera))
    assert matched(heard(site(rule), [*doubtful, *endings(CAMERAS, 10_000)])) == expected


def _doubtful(question: str) -> list[Answer]:
    return [Answer(question, unknown=True, holders=(holder("a1"),))]


def test_a_silent_camera_holds_nobody_up_for_longer_than_ten_seconds() -> None:
    rule = across(CROWD, scope=SCOPE)
    place = site(rule)
    heard(place, seconds(rule, {"a": [""] * 5, "b": [""] * 5, "c": [""] * 5}))
    came = None
    for n in range(5, 30):
        outcomes = heard(place, seconds(rule, {"a": [*[None] * n, "123"], "b": [*[None] * n, ""]}))
        if outcomes.completed and came is None:
            came = n
    assert came == 15  # c was there at 4 s; it is not waited for once somebody is past 14 s
    assert place.waiting < 20


def test_a_camera_that_never_spoke_is_waited_for_as_long() -> None:
    rule = across(CROWD, scope=SCOPE)
    place = site(rule)
    for n in range(14):
        outcomes = heard(place, seconds(rule, {"a": [*[None] * n, "12"], "b": [*[None] * n, "1"]}))
        assert bool(outcomes.completed) == (n == 11)


def test_a_camera_that_is_catching_up_is_waited_for() -> None:
    """After an outage of a stage: an hour of one camera comes before the first second of the other."""
    rule = across(CROWD, scope={"cameras": ["a", "b"]})
    place = site(rule)
    hour: list[str | None] = [*[""] * 1_000 + ["12"] * 2_600]
    other: list[str | None] = [*[""] * 2_000 + ["1"] * 1_600]
    story = sorted(seconds(rule, {"a": hour, "b": other}), key=lambda one: one.camera)
    caught_up = [
        msgspec.structs.replace(one, said_at=START + n) for n, one in enumerate(story, start=1)
    ]
    found = heard(place, caught_up)
    assert (matched(found), found.late) == ([(20_000, "a1+a2+b1")], 0)
    assert place.waiting < 20


def test_a_closed_stream_holds_nobody_up() -> None:
    rule = across(CROWD, scope=SCOPE)
    story = seconds(rule, {"a": ["", "12"], "b": ["", "1"], "c": ["", ""]})
    ends = [said(camera, 20, {key(rule): []}, closed=True) for camera in CAMERAS]
    assert matched(heard(site(rule), [*story, *ends])) == [(10, "a1+a2+b1")]


def test_what_comes_too_late_is_counted_and_ignored() -> None:
    rule = across(CROWD, scope=SCOPE)
    place = site(rule)
    story = seconds(rule, {"a": [""] * 10, "b": [""] * 10, "c": [""] * 10})
    assert heard(place, story).late == 0
    late = heard(place, [said("a", 15, {key(rule): [holder(f"a{n}") for n in "123"]})])
    again = heard(place, [story[-1]])
    assert (late.late, again.late, place.late) == (1, 1, 2)
    assert matched(heard(place, endings(CAMERAS, 10_000))) == []


def test_a_camera_nobody_named_whose_stream_ended_is_no_part_of_it() -> None:
    match = {"count": {**CROWD["count"], "op": "<", "n": 1}}
    scoped, rule = across(match, scope={"cameras": ["a", "b"]}), across(match)
    story = seconds(rule, {"a": [*["1"] * 10, *[""] * 10], "b": [*[""] * 5]})
    story.append(said("b", 50, {key(rule): []}, closed=True))
    story.sort(key=lambda one: (one.observed_at, one.camera))
    assert matched(heard(site(rule), [*story, *endings("a", 10_000)])) == [(100, "")]
    assert matched(heard(site(scoped), [*story, *endings("a", 10_000)])) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_statements_of_a_moment_the_one_with_the_later_frame_counts(
    order: tuple[int, int],
) -> None:
    rule = across({"enter": {"camera": "a", "zone": "door"}})
    heartbeat = said("a", 10, {key(rule): []}, seq=7)
    frame = said("a", 10, {key(rule): [holder("a1", momentary=True)]}, seq=8)
    place = site(rule)
    outcomes = heard(place, [[heartbeat, frame][n] for n in order])
    again = heard(place, [heartbeat, frame])
    assert (outcomes.late, again.late) == (order[0], 2)
    assert matched(heard(place, endings("a", 10_000))) == [(10, "a1")]


def test_a_camera_nobody_named_and_nobody_hears_is_no_part_of_it() -> None:
    rule = across({"count": {**CROWD["count"], "op": "<", "n": 1}})
    assert matched(run(rule, {"a": ["1", "1", "", ""], "b": [""] * 4})) == [(20, "")]


def test_a_rule_counts_from_its_event_time_until_it_is_removed() -> None:
    rule = across(CROWD, scope=SCOPE)
    scenes, rules = histories([])
    place = Site("home", scenes, rules)
    rules.put(rule.id, START + 5 * SECOND, rule)
    rules.put(rule.id, START + 20 * SECOND, None)
    busy: list[str | None] = ["123"] * 30
    found = heard(place, seconds(rule, {"a": busy, "b": [""] * 30, "c": [""] * 30}))
    found2 = heard(place, endings(CAMERAS, 10_000))
    assert matched(found) + matched(found2) == [(50, "a1+a2+a3")]
    assert place.waiting == 0


def test_a_new_version_keeps_what_it_shares_and_a_dead_camera_of_the_old_one_does_not_stop_it() -> (
    None
):
    old = across({"enter": {"camera": "c", "zone": "door"}}, id="r")
    new = across({"enter": {"camera": "a", "zone": "door"}}, id="r", version="1.1.0")
    scenes, rules = histories([old])
    place = Site("home", scenes, rules)
    rules.put("r", START + 5 * SECOND, new)
    heard(place, [said("c", 0, {key(old): []})])
    came = {key(new): [holder("a1", momentary=True)]}
    story = [said("a", n * 10, came if n == 8 else {key(new): []}) for n in range(30)]
    (one,) = heard(place, story).completed
    assert (one.match.rule_version, (one.match.matched_at - START) // TENTH) == ("1.1.0", 80)


def test_groups_merging_and_cooldown() -> None:
    rule = across(
        {"enter": {"camera": "a", "zone": "door"}}, cooldown="5s", merge_gap="1s", group_by=["zone"]
    )
    question = key(rule)
    times = {0: "door", 5: "door", 30: "door", 31: "hall", 60: "door"}
    story = [
        said("a", at, {question: [holder("a1", momentary=True, zone=zone)]})
        for at, zone in times.items()
    ]
    found = heard(site(rule), [*story, *endings("a", 10_000)])
    assert [
        ((one.match.matched_at - START) // TENTH, one.match.group, one.match.outcome)
        for one in found.completed
    ] == [
        (0, "site=home,zone=door", "opened"),
        (5, "site=home,zone=door", "extended"),
        (30, "site=home,zone=door", "suppressed"),
        (31, "site=home,zone=hall", "opened"),
        (60, "site=home,zone=door", "opened"),
    ]


def test_what_extends_an_incident_stays_with_its_camera() -> None:
    rule = across(
        {"any": [{"enter": {"camera": "a", "zone": "door"}},
                 {"enter": {"camera": "b", "zone": "door"}}]},
        cooldown="1m",
    )  # fmt: skip
    came = {key(rule): [holder("t", momentary=True)]}
    story = [said("a", 0, came), said("b", 30, came), *endings("ab", 10_000)]
    first, second = heard(site(rule), story).completed
    assert (first.match.camera, second.match.camera) == ("a", "a")
    assert (second.match.outcome, second.frame.event.camera) == ("suppressed", "b")


def test_a_count_for_a_while_and_its_margin() -> None:
    rule = across({"count": {**CROWD["count"], "for": "3s"}}, scope=SCOPE)
    found = run(
        rule, {"a": ["", "12", "12", "12", "12"], "b": ["", "1", "1", "1", "12"], "c": [""] * 5}
    )
    assert matched(found) == [(40, "a1+a2+b1+b2")]
    assert found.completed[0].match.margin == pytest.approx(1 / 3)


def test_a_schedule_is_by_the_clock_of_the_site() -> None:
    rule = across(
        {"all": [{"schedule": {"tz": "UTC", "between": ["00:17", "00:18"]}},
                 {"count": {"across": "cameras", "op": ">=", "n": 1}}]}
    )  # fmt: skip
    story = seconds(rule, {"a": ["1"] * 60})  # from 00:16:40 on
    assert matched(heard(site(rule), [*story, *endings("a", 10_000)])) == [(200, "a1")]


def test_cameras_of_another_site_are_not_asked() -> None:
    rule = across(CROWD)
    scenes, rules = histories([rule], "ab")
    scenes.put("far", 0, scene("far", "elsewhere"))
    story = seconds(rule, {"a": ["12", "12"], "b": ["", ""], "far": ["1", "1"]})
    assert matched(heard(Site("home", scenes, rules), [*story, *endings("ab", 10_000)])) == []


def test_a_site_without_the_named_camera_refuses_the_rule() -> None:
    place = site(across({"enter": {"camera": "x", "zone": "door"}}))
    heard(place, [said("a", 0)])
    ((problem,),) = place.refused.values()
    assert (problem.path, problem.value) == ("$.match.enter", "['x']")


def test_nonsense_is_no_checkpoint() -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        site().load(b"nonsense")
