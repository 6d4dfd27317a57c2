"""Merge gap, cooldown, groups: which matches open an incident."""

from typing import Any

import pytest

from tests.unit.rules.scenes import TENTH, away, evaluator, frames, rule, run, there

ENTER: dict[str, Any] = {"enter": {"zone": "door"}}
VISITS = (there(5) + away(15)) * 5  # enters at 0.4, 2.4, 4.4, 6.4, 8.4 s


@pytest.mark.parametrize(
    ("cooldown", "merge_gap", "outcomes"),
    [
        ("0s", "0s", ["opened"] * 5),
        ("3s", "0s", ["opened", "suppressed", "opened", "suppressed", "opened"]),
        ("4s", "0s", ["opened", "suppressed", "opened", "suppressed", "opened"]),
        ("4s1ms", "0s", ["opened", "suppressed", "suppressed", "opened", "suppressed"]),
        ("1m", "0s", ["opened", *["suppressed"] * 4]),
        ("0s", "2s", ["opened", *["extended"] * 4]),
        ("0s", "1s900ms", ["opened"] * 5),
        ("5s", "2s", ["opened", *["extended"] * 4]),
    ],
)
def test_cooldown_and_merge_gap(cooldown: str, merge_gap: str, outcomes: list[str]) -> None:
    asked = rule(ENTER, cooldown=cooldown, merge_gap=merge_gap)
    matches = run(evaluator(asked), frames({"1": VISITS}))
    assert [one.outcome for one in matches] == outcomes


def test_what_belongs_to_an_incident_is_counted_on_it() -> None:
    matches = run(evaluator(rule(ENTER, cooldown="5s")), frames({"1": VISITS}))
    assert [(one.incident_at // TENTH, one.count) for one in matches] == [
        (4, 1), (4, 2), (4, 3), (64, 1), (64, 2),
    ]  # fmt: skip


def test_a_group_of_its_own_for_each_track() -> None:
    asked = rule(ENTER, cooldown="1m")
    matches = run(evaluator(asked), frames({"1": there(9), "2": away(3) + there(9)}))
    assert [(one.group, one.outcome) for one in matches] == [
        ("cam/track=1", "opened"),
        ("cam/track=2", "opened"),
    ]


def test_tracks_of_one_group_in_one_frame_are_one_match() -> None:
    asked = rule(ENTER, group_by=["zone"], cooldown="1m")
    matches = run(evaluator(asked), frames({"1": there(9), "2": there(9), "3": away(2) + there(9)}))
    assert [(one.group, one.tracks, one.outcome) for one in matches] == [
        ("cam/zone=door", ("1", "2"), "opened"),
        ("cam/zone=door", ("3",), "extended"),  # in the same second: the same incident
    ]


@pytest.mark.parametrize(
    ("group_by", "group"),
    [
        (["camera"], "cam"),
        ("camera", "cam"),
        (["zone", "class"], "cam/zone=door,class=person"),
        (["track", "zone"], "cam/track=1,zone=door"),
    ],
)
def test_group_keys(group_by: Any, group: str) -> None:
    (match,) = run(evaluator(rule(ENTER, group_by=group_by)), frames({"1": there(9)}))
    assert match.group == group


def test_a_new_major_version_begins_new_incidents() -> None:
    one, two = evaluator(rule(ENTER, cooldown="1m")), evaluator(rule(ENTER, version="2.0.0"))
    film = list(frames({"1": there(9)}))
    run(one, film)
    two.load(one.dump())
    later = frames({"2": there(9)}, start=2_000_000)
    assert [match.outcome for match in run(two, later)] == ["opened"]


def test_old_incidents_are_forgotten() -> None:
    made = evaluator(rule(ENTER, cooldown="1s"))
    for n in range(50):
        run(made, frames({f"t{n}": there(9)}, start=n * 70_000_000))
    assert made.dump().count(b"rule|1|") <= 2
