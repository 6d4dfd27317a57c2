"""The stage: what it says, in which order, whom it believes, and that a checkpoint changes nothing."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.event import Event
from schemas.events.alert_raised import AlertRaised
from schemas.events.detections_made import Detection
from schemas.events.incident_changes import IncidentOpened
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted
from schemas.events.tracks_observed import TracksObserved
from schemas.events.tracks_seen import TracksSeen
from services.orchestrator.stage import CameraStage, Effects
from shared.errors import Poison
from tests.unit.orchestrator.happenings import (
    FIFTH,
    NOON,
    camera,
    defined,
    enters,
    envelope,
    frame,
    handled,
    knowing,
    opened,
    walk,
)


def of(effects: Effects, kind: type[Any]) -> list[Any]:
    return [one.event for one in [*effects.fast, *effects.incidents] if isinstance(one.event, kind)]


def test_a_walk_through_the_door_is_one_incident_and_one_alert() -> None:
    stage = CameraStage(knowing(enters()))
    effects = handled(stage, opened(), *walk())
    (incident,) = of(effects, IncidentOpened)
    (alert,) = of(effects, AlertRaised)
    assert alert.incident == incident.incident
    assert (incident.tracks, incident.zone, incident.epoch) == (("yard-1-1",), "door", 1)
    assert incident.cause.model == "scripted"
    assert incident.cause.offset == incident.seq  # frame n stands at offset n
    assert incident.cause.camera_version == 1


def test_tracks_of_frames_and_of_seconds() -> None:
    stage = CameraStage(knowing())
    effects = handled(stage, opened(), *walk(24), StreamClosed(
        camera="yard", epoch=1, closed_at=NOON + 25 * FIFTH, lease=1, reason="end"
    ))  # fmt: skip
    seen, seconds = of(effects, TracksSeen), of(effects, TracksObserved)
    assert [one.seq for one in seen] == list(range(1, 25))
    assert [(one.second_at - NOON) // 1_000_000 for one in seconds] == [0, 1, 2, 3, 4]
    points = [point.at for one in seconds for path in one.paths for point in path.points]
    shown = [one.captured_at for one in seen if one.tracks]
    assert points == shown  # every point once, in order
    assert len({one.id for one in effects.fast}) == len(effects.fast)


def test_a_frame_nobody_looked_at_holds_the_tracks_and_shows_nothing() -> None:
    stage = CameraStage(knowing())
    handled(stage, opened(), *[frame(n, 50) for n in range(1, 10)])
    effects = handled(
        stage, *[frame(n, coverage="none", model="") for n in range(10, 40)], start=10
    )
    assert of(effects, TracksSeen) == []
    assert stage.tracks("yard") == 1
    (again,) = of(handled(stage, frame(40, 50), start=40), TracksSeen)
    assert [track.track for track in again.tracks] == ["yard-1-1"]


def test_whoever_lost_the_lease_is_not_heard() -> None:
    stage = CameraStage(knowing(enters()))
    effects = handled(stage, opened(lease=2), *walk(lease=1))
    assert (effects.late, effects.fast, effects.incidents) == (60, [], [])


def test_what_was_there_already_says_nothing_more() -> None:
    stage = CameraStage(knowing(enters()))
    events = [opened(), *walk()]
    once = handled(stage, *events)
    again = handled(stage, *events)
    assert len(of(once, IncidentOpened)) == 1
    assert (again.fast, again.incidents, again.late) == ([], [], len(events))


@pytest.mark.parametrize("seed", range(8))
def test_two_detectors_that_speak_at_once_are_as_good_as_one(seed: int) -> None:
    """A detector process that was taken for dead goes on for a while beside its successor (R25)."""
    frames = walk()
    beat = StreamAlive(camera="yard", epoch=1, alive_at=frames[19].captured_at, lease=1)
    both = interleaved(frames[20:45], [beat, *frames[20:]], random.Random(seed))
    mixed: list[Event] = [opened(), *frames[:20], *both]
    effects = handled(CameraStage(knowing(enters())), *mixed)
    (incident,) = of(effects, IncidentOpened)
    assert incident.tracks == ("yard-1-1",)
    shown = [one.seq for one in of(effects, TracksSeen)]
    assert shown == sorted(set(shown))
    assert {track.track for one in of(effects, TracksSeen) for track in one.tracks} == {"yard-1-1"}
    # Frames that the one had not said yet are not missed: the other said them or a later one.
    assert shown[-1] == 60
    assert effects.late == len(mixed) - len(shown) - 2


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_that_lost_its_lease_changes_nothing_once_its_successor_spoke(seed: int) -> None:
    at = NOON + 20 * FIFTH
    taken = StreamInterrupted(
        camera="yard", epoch=1, since=at, until=at + FIFTH, lease=2, reason="moved"
    )
    later = [
        frame(n, (n + 20) * 1.5, epoch=2, lease=2, captured_at=NOON + (n + 21) * FIFTH)
        for n in range(1, 41)
    ]
    before: list[Event] = [opened(), *walk(20)]
    after: list[Event] = [taken, opened(2, at + FIFTH, 2), *later]
    zombie: list[Event] = [frame(n, 95.0) for n in range(21, 60)]
    alone = handled(CameraStage(knowing(enters())), *before, *after)
    stage, effects = CameraStage(knowing(enters())), Effects()
    mixed = [taken, *interleaved(after[1:], zombie, random.Random(seed))]
    effects.add(handled(stage, *before))
    effects.add(handled(stage, *mixed, start=len(before)))
    assert effects.late == len(zombie)
    assert [one.event for one in effects.fast] == [one.event for one in alone.fast]
    assert len(of(effects, IncidentOpened)) == len(of(alone, IncidentOpened)) == 1


def interleaved(one: Sequence[Event], other: Sequence[Event], chance: random.Random) -> list[Event]:
    """Two sequences as one, each in its own order."""
    mixed: list[Event] = []
    left, right = list(one), list(other)
    while left or right:
        from_left = chance.random() < len(left) / (len(left) + len(right))
        mixed.append((left if from_left else right).pop(0))
    return mixed


def test_a_new_epoch_keeps_the_track_within_the_gap() -> None:
    stage = CameraStage(knowing())
    handled(stage, opened(), *[frame(n, 50) for n in range(1, 10)])
    at = NOON + 9 * FIFTH
    broken = StreamInterrupted(
        camera="yard", epoch=1, since=at, until=at + 400_000, lease=1, reason="net"
    )
    effects = handled(
        stage,
        broken,
        opened(2, at + 400_000, 2),
        frame(1, 50, epoch=2, lease=2, captured_at=at + 600_000),
        frame(2, 50, epoch=1, lease=1, captured_at=at + 800_000),  # a straggler of the old reader
        start=10,
    )
    (seen,) = of(effects, TracksSeen)
    assert [track.track for track in seen.tracks] == ["yard-1-1"]
    assert effects.late == 1


def test_an_outage_in_the_window_is_said_and_does_not_fire() -> None:
    loiter = {
        "id": "loiter",
        "match": {"dwell": {"class": "person", "zone": "door", "min": "3s"}},
    }
    stage = CameraStage(knowing(loiter))
    handled(stage, opened(), *[frame(n, 50) for n in range(1, 10)])
    effects = handled(
        stage, *[frame(n, 50, captured_at=NOON + (n + 6) * FIFTH) for n in range(10, 15)], start=10
    )
    assert [gap.rule for gap in effects.gaps] == ["loiter"]
    assert effects.incidents == []


def test_heartbeats_end_a_second_in_which_frames_stopped() -> None:
    stage = CameraStage(knowing())
    handled(stage, opened(), *[frame(n, 50) for n in range(1, 9)])
    alive = StreamAlive(camera="yard", epoch=1, alive_at=NOON + 3_000_000, lease=1)
    (second,) = of(handled(stage, alive, start=9), TracksObserved)
    assert second.second_at == NOON + 1_000_000


def test_cameras_of_a_partition_do_not_mix() -> None:
    both = knowing(enters(), cameras=(camera(), camera("back")))
    stage = CameraStage(both)
    events = [opened(), opened(name="back")]
    for here in walk():
        events += [here, frame(here.seq, 99 - here.seq * 1.5, camera="back")]  # type: ignore[list-item]
    effects = handled(stage, *events)
    assert {one.camera: one.tracks for one in of(effects, IncidentOpened)} == {
        "yard": ("yard-1-1",),
        "back": ("back-1-1",),
    }


@pytest.mark.parametrize("cut", range(0, 62, 3))
def test_a_checkpoint_changes_neither_events_nor_ids(cut: int) -> None:
    events = [opened(), *walk()]
    straight = handled(CameraStage(knowing(enters())), *events)
    first = CameraStage(knowing(enters()))
    before = handled(first, *events[:cut])
    second = CameraStage(knowing(enters()))
    second.load(first.dump())
    after = handled(second, *events[cut:], start=cut)
    assert [*before.fast, *after.fast] == straight.fast
    assert [*before.incidents, *after.incidents] == straight.incidents


def test_a_malformed_detection_is_poison() -> None:
    stage = CameraStage(knowing())
    bad = frame(1)
    nan = Detection("person", 0.9, (float("nan"), 0.0, 5.0, 5.0))
    broken = type(bad)(
        **{f: getattr(bad, f) for f in bad.__struct_fields__} | {"detections": (nan,)}
    )
    with pytest.raises(Poison, match="yard"):
        handled(stage, opened(), broken)


def test_what_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        CameraStage(knowing()).load(b"nonsense")


def test_a_rule_version_counts_by_event_time() -> None:
    knowledge = knowing(enters())
    later = NOON + 9 * FIFTH
    knowledge.define(defined(enters(level="low"), revision=2, at=later))
    knowledge.define(defined(enters(level="critical"), revision=2, at=0))  # told again: counts once
    stage = CameraStage(knowledge)
    (incident,) = of(handled(stage, opened(), *walk()), IncidentOpened)
    assert incident.severity == "low"


def test_drafts_removed_and_broken_rules_are_not_evaluated() -> None:
    knowledge = knowing(enters(status="draft"))
    knowledge.define(defined({"id": "odd", "match": {"seq": {}}}))
    assert list(knowledge.broken) == ["odd"]
    knowledge.define(defined(enters("gone")))
    knowledge.remove("gone", 2, NOON)
    assert of(handled(CameraStage(knowledge), opened(), *walk()), IncidentOpened) == []
    assert handled(CameraStage(knowledge), envelope(opened(), 0).event or opened()).late == 0
