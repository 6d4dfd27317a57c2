"""Facts of a small world, for the tests of the history."""

from typing import Any

import msgspec

from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.incident_changes import (
    Cause,
    IncidentExtended,
    IncidentMoved,
    IncidentOpened,
    State,
)
from schemas.events.tracks_observed import TrackPath, TrackPoint, TracksObserved
from tests.unit.vms.conftest import NOON

SECOND = 1_000_000
CAUSE = Cause(
    rule="enter-yard", rule_version="1.0.0", rule_hash="h", camera_version=1, model="m",
    tracker="t", topic="detections", partition=0, offset=7,
)  # fmt: skip
SIZE = (100, 100)


def look(
    seq: int, *found: tuple[str, float, float], camera: str = "door", epoch: int = 1
) -> DetectionsMade:
    """A frame a second, with objects (label, foot x, foot y) in percent of the frame."""
    return DetectionsMade(
        camera=camera,
        epoch=epoch,
        seq=seq,
        captured_at=NOON + seq * SECOND,
        width=SIZE[0],
        height=SIZE[1],
        lease=1,
        coverage="full",
        period=SECOND,
        model="m",
        detections=tuple(
            Detection(label, 0.5, (x - 5.0, y - 20.0, 10.0, 20.0)) for label, x, y in found
        ),
    )


def second(number: int, *paths: tuple[str, str, float, float], camera: str = "door") -> Any:
    """A second of tracks (id, label, foot x, foot y)."""
    at = NOON + number * SECOND
    return TracksObserved(
        camera=camera,
        epoch=1,
        second_at=at,
        width=SIZE[0],
        height=SIZE[1],
        tracker="t",
        model="m",
        paths=tuple(
            TrackPath(track, label, NOON, (TrackPoint(at, (x - 5.0, y - 20.0, 10.0, 20.0), 0.9),))
            for track, label, x, y in paths
        ),
    )


def opened(id: str, seq: int = 0, **fields: Any) -> IncidentOpened:
    """An incident that matched `seq` seconds after noon."""
    base = IncidentOpened(
        incident=id, camera="door", epoch=1, seq=seq, title="Person enters", severity="high",
        group="track:door-1-1", label="person", tracks=("door-1-1",), zone="yard",
        started_at=NOON + (seq - 1) * SECOND, matched_at=NOON + seq * SECOND, margin=0.5,
        snapshot=f"incidents/{id}/first.jpg", cause=CAUSE,
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


def extended(id: str, count: int, seq: int) -> IncidentExtended:
    """A further match."""
    return IncidentExtended(
        incident=id, camera="door", matched_at=NOON + seq * SECOND, count=count,
        tracks=("door-1-2",), margin=0.5, cause=CAUSE,
    )  # fmt: skip


def moved(id: str, seq: int, source: State | None, target: State, **fields: Any) -> IncidentMoved:
    """A transition."""
    base = IncidentMoved(
        incident=id, camera="door", seq=seq, source=source, target=target,
        moved_at=NOON + seq * SECOND, actor="system", reason="test",
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


def alert(id: str, seq: int = 0, **fields: Any) -> AlertRaised:
    """An alert that matched `seq` seconds after noon."""
    base = AlertRaised(
        alert=id, incident=f"i-{id}", camera="door", camera_name="Door", site="site",
        severity="high", title="Person enters", summary="A person entered the yard.",
        label="person", tracks=("door-1-1",), zone="yard", epoch=1, seq=seq,
        matched_at=NOON + seq * SECOND, raised_at=NOON + seq * SECOND, margin=0.5,
        snapshot=f"incidents/i-{id}/first.jpg", cause=CAUSE,
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


def state(name: Any, seq: int, *, camera: str = "door", **fields: Any) -> CameraStatusChanged:
    """A camera's state."""
    base = CameraStatusChanged(camera=camera, state=name, changed_at=NOON + seq * SECOND)
    return msgspec.structs.replace(base, **fields)
