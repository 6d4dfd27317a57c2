"""Facts coming in, many rows a statement. A fact that comes again finds its row and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import Insert

from services.vms.models import (
    ALERTS,
    CAMERA_STATUS,
    DETECTIONS,
    INCIDENTS,
    TRACK_SECONDS,
    TRACKS,
    TRANSITIONS,
)
from shared.db.base import insert_new

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from schemas.events.alert_raised import AlertRaised
    from schemas.events.camera_status_changed import CameraStatusChanged
    from schemas.events.incident_changes import IncidentExtended, IncidentMoved, IncidentOpened
    from shared.db.engine import Transaction

Row = dict[str, Any]


async def add_detections(tx: Transaction, rows: Sequence[Row]) -> None:
    """Objects of frames, keyed by (camera, epoch, seq, ordinal)."""
    if rows:
        await tx.execute(_DETECTIONS, rows)


async def add_tracks(tx: Transaction, tracks: Sequence[Row], seconds: Sequence[Row]) -> None:
    """Tracks, brought on to what is newly known of them, and their points second by second."""
    if tracks:
        await tx.execute(_TRACKS, tracks)
        await tx.execute(_SECONDS, seconds)


async def zones_of_tracks(tx: Transaction, tracks: Collection[str]) -> dict[str, set[str]]:
    """The zones in which tracks were seen so far."""
    found = await tx.execute(
        select(TRACKS.c.track, TRACKS.c.zones).where(TRACKS.c.track.in_(tracks))
    )
    return {row.track: set(msgspec.json.decode(row.zones, type=list[str])) for row in found}


async def open_incidents(tx: Transaction, opened: Sequence[IncidentOpened], *, now: int) -> None:
    """Incidents as they were opened."""
    if opened:
        await tx.execute(insert_new(INCIDENTS), [_incident(event, now) for event in opened])


async def extend_incident(tx: Transaction, event: IncidentExtended) -> None:
    """A further match of an incident; an older one changes nothing."""
    found = await tx.execute(
        select(INCIDENTS.c.tracks).where(
            INCIDENTS.c.incident == event.incident, INCIDENTS.c.count < event.count
        )
    )
    row = found.one_or_none()
    if row is not None:
        await tx.execute(
            update(INCIDENTS)
            .where(INCIDENTS.c.incident == event.incident, INCIDENTS.c.count < event.count)
            .values(
                count=event.count,
                last_at=event.matched_at,
                tracks=list(dict.fromkeys([*row.tracks, *event.tracks])),
            )
        )


async def move_incidents(tx: Transaction, moved: Sequence[IncidentMoved], *, now: int) -> None:
    """Transitions, in any order."""
    if moved:
        await tx.execute(insert_new(TRANSITIONS), [_transition(event, now) for event in moved])


async def settle_states(tx: Transaction, incidents: Iterable[str]) -> None:
    """Let incidents have the state of their last transition."""
    ids = set(incidents)
    last = select(TRANSITIONS.c.incident, func.max(TRANSITIONS.c.seq).label("seq"))
    last_of = (
        last.where(TRANSITIONS.c.incident.in_(ids)).group_by(TRANSITIONS.c.incident).subquery()
    )
    found = await tx.execute(
        select(TRANSITIONS).join(
            last_of,
            (TRANSITIONS.c.incident == last_of.c.incident) & (TRANSITIONS.c.seq == last_of.c.seq),
        )
    )
    for row in found.all():
        await tx.execute(
            update(INCIDENTS)
            .where(INCIDENTS.c.incident == row.incident, INCIDENTS.c.state_seq < row.seq)
            .values(
                state=row.target,
                state_seq=row.seq,
                outcome=row.outcome or INCIDENTS.c.outcome,
            )
        )


async def add_alerts(tx: Transaction, alerts: Sequence[AlertRaised], *, now: int) -> None:
    """Alerts as they were raised."""
    if alerts:
        await tx.execute(insert_new(ALERTS), [_alert(event, now) for event in alerts])


async def set_statuses(tx: Transaction, statuses: Sequence[CameraStatusChanged]) -> None:
    """The newest state of each camera; an older one changes nothing."""
    if statuses:
        await tx.execute(_STATUS, [_status(event) for event in statuses])


def _bring_on() -> Insert:
    statement = Insert(TRACKS)
    given = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["track"],
        set_={
            "at": case((given.at < TRACKS.c.at, given.at), else_=TRACKS.c.at),
            "last_at": case(
                (given.last_at > TRACKS.c.last_at, given.last_at), else_=TRACKS.c.last_at
            ),
            "zones": given.zones,
        },
    )


def _newest_status() -> Insert:
    statement = Insert(CAMERA_STATUS)
    given, stored = statement.excluded, CAMERA_STATUS.c
    values: dict[str, Any] = {
        column.name: given[column.name]
        for column in CAMERA_STATUS.columns
        if not column.primary_key
    }
    values["state_since"] = case(
        (given.state == stored.state, stored.state_since), else_=given.state_since
    )
    # Clocks of hosts may differ: of two holders of a camera's lease the later one is right, whatever time it is there.
    newer = or_(
        given.lease > stored.lease,
        and_(given.lease == stored.lease, given.changed_at >= stored.changed_at),
    )
    return statement.on_conflict_do_update(index_elements=["camera"], set_=values, where=newer)


def _incident(event: IncidentOpened, now: int) -> Row:
    row = msgspec.structs.asdict(event)
    del row["group"], row["matched_at"]
    return {
        **row,
        "tracks": list(event.tracks),
        "at": event.matched_at,
        "last_at": event.matched_at,
        "count": 1,
        "rule": event.cause.rule,
        "cause": msgspec.to_builtins(event.cause),
        "state": "CANDIDATE",
        "state_seq": 0,
        "outcome": "",
        "stored_at": now,
    }


def _transition(event: IncidentMoved, now: int) -> Row:
    row = msgspec.structs.asdict(event)
    del row["camera"]
    return {**row, "stored_at": now}


def _alert(event: AlertRaised, now: int) -> Row:
    row = msgspec.structs.asdict(event)
    del row["site"], row["matched_at"]
    return {
        **row,
        "tracks": list(event.tracks),
        "at": event.matched_at,
        "rule": event.cause.rule,
        "cause": msgspec.to_builtins(event.cause),
        "stored_at": now,
    }


def _status(event: CameraStatusChanged) -> Row:
    return {**msgspec.structs.asdict(event), "state_since": event.changed_at}


_DETECTIONS = insert_new(DETECTIONS)
_TRACKS = _bring_on()
_SECONDS = insert_new(TRACK_SECONDS)
_STATUS = _newest_status()
