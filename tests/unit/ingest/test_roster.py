"""Who reads which camera, and who counts as live: pure, so every process comes to the same answer."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import Member, assign
from services.ingest.roster import CALM, GONE, LONGEST_CALM_S, Attention, Roster, Row, Sightings

TTL = 10.0
NAMES = st.text("abcdefghij0123456789-", min_size=1, max_size=6)
CAMERAS = st.sets(NAMES, max_size=20)
MEMBERS = st.dictionaries(NAMES, st.none() | st.integers(1, 8), min_size=1, max_size=5)


def members(rooms: dict[str, int | None]) -> list[Member]:
    return [Member(name, room) for name, room in rooms.items()]


@given(CAMERAS, st.sets(NAMES, min_size=1, max_size=5), NAMES)
def test_who_joins_takes_only_for_itself_and_who_leaves_gives_only_its_own(
    cameras: set[str], names: set[str], new: str
) -> None:
    before = assign(cameras, [Member(name) for name in names - {new}])
    after = assign(cameras, [Member(name) for name in names | {new}])
    assert set(after) == cameras
    moved = {camera for camera in before if before[camera] != after[camera]}
    assert all(after[camera] == new for camera in moved)


@given(CAMERAS, MEMBERS, st.randoms(use_true_random=False))
def test_everybody_comes_to_the_same_answer_within_the_room_there_is(
    cameras: set[str], rooms: dict[str, int | None], chance: object
) -> None:
    shuffled = members(rooms)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    owners = assign(sorted(cameras), members(rooms))
    assert owners == assign(cameras, shuffled)
    for name, count in Counter(owners.values()).items():
        room = rooms[name]
        assert room is None or count <= room
    if None in rooms.values():
        assert set(owners) == cameras
    else:
        assert len(owners) == min(len(cameras), sum(room or 0 for room in rooms.values()))


def test_the_shares_are_even() -> None:
    owners = assign([f"cam-{n}" for n in range(900)], [Member(name) for name in "abc"])
    assert all(240 < count < 360 for count in Counter(owners.values()).values())


def test_nobody_there_owns_nothing() -> None:
    assert assign(["yard"], []) == {}


def test_time_in_which_we_did_not_look_does_not_count() -> None:
    attention = Attention(2.0)
    assert [attention.look(at) for at in (100.0, 101.0, 161.0, 162.5, 162.0)] == [
        0.0, 1.0, 3.0, 4.5, 4.5,
    ]  # fmt: skip


def test_a_thing_stands_still_until_it_changes_or_is_gone() -> None:
    seen = Sightings()
    seen.see({"a": 1}, 0.0)
    seen.see({"a": 1, "b": 1}, 4.0)
    assert (seen.still("a", 4.0), seen.still("b", 4.0), seen.still("c", 4.0)) == (4.0, 0.0, 0.0)
    seen.see({"a": 2}, 5.0)
    assert seen.still("a", 5.0) == 0.0
    seen.see({}, 6.0)
    seen.see({"a": 2}, 7.0)
    assert seen.still("a", 7.0) == 0.0


class Story:
    """A roster as `me` sees it, second by second; `beats` says who renews."""

    def __init__(self) -> None:
        self.roster = Roster("me", TTL)
        self.at = 0.0
        self.rows = {name: Row(name, "first", 1, None) for name in ("me", "other")}

    def go(self, seconds: float, *beats: str) -> list[str]:
        until = self.at + seconds
        while self.at < until:
            self.at += 1.0
            for name in beats:
                self.rows[name] = self.rows[name]._replace(beat=self.rows[name].beat + 1)
            self.roster.see(list(self.rows.values()), self.at)
        return [member.name for member in self.roster.live(self.at)]


def test_who_renews_is_live_and_who_does_not_is_dead_after_its_time() -> None:
    story = Story()
    assert story.go(30, "me", "other") == ["me", "other"]
    assert story.go(TTL, "me") == ["me", "other"]
    assert story.go(2, "me") == ["me"]


def test_we_are_always_live_to_ourselves() -> None:
    assert Story().go(3 * TTL) == ["me"]


def test_who_renewed_late_waits_twice_as_long_each_time() -> None:
    story = Story()
    story.go(3, "me", "other")
    for times in (1, 2, 4, 8, 16):
        assert story.go(TTL + 2, "me") == ["me"]
        wait = min(times * CALM * TTL, LONGEST_CALM_S)
        assert story.go(wait, "me", "other") == ["me"]
        assert story.go(1, "me", "other") == ["me", "other"]


def test_who_was_started_again_is_trusted_at_once() -> None:
    story = Story()
    story.go(3, "me", "other")
    assert story.go(TTL + 2, "me") == ["me"]
    story.rows["other"] = Row("other", "second", 1, None)
    assert story.go(1, "me") == ["me", "other"]


@pytest.mark.parametrize("skew", [-1e6, 0.0, 1e6])
def test_no_clock_of_another_host_is_asked(skew: float) -> None:
    story = Story()
    story.at = skew
    assert story.go(5, "me", "other") == ["me", "other"]
    assert story.go(TTL + 2, "me") == ["me"]


def test_who_never_comes_back_is_removed_as_it_was_seen() -> None:
    story = Story()
    story.go(3, "me", "other")
    story.go(GONE * TTL, "me")
    assert story.roster.gone(story.at) == []
    story.go(2, "me")
    assert story.roster.gone(story.at) == [story.rows["other"]]
