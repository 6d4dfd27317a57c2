"""History going out: facts by camera, time, class, zone and severity, newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, func, or_, select

from schemas.cloudevents import rfc3339
from services.vms.models import (
    ALERTS,
    CAMERA_STATUS,
    CAMERAS,
    DETECTIONS,
    INCIDENTS,
    TRACK_SECONDS,
    TRACKS,
    TRANSITIONS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, RowMapping, Select, Table

    from shared.db.engine import Reader

Shown = dict[str, Any]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Empty lists let everything pass; times are microseconds, `until` is not included."""

    cameras: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    labels: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where a page ended: event time and number of its last row."""

    at: int
    id: int


@dataclass(frozen=True)
class Kind:
    """One kind of fact: its table, how a row is shown, and the columns of its exports."""

    name: str
    table: Table
    show: Callable[[RowMapping], Shown]
    columns: tuple[str, ...]


async def page(
    reader: Reader, kind: Kind, question: Question, *, after: Place | None, limit: int
) -> tuple[list[Shown], Place | None]:
    """Up to `limit` facts, newest first, and where to go on; None at the end."""
    at, id = kind.table.c.at, kind.table.c.id
    statement = _asked(select(kind.table), kind, question).order_by(at.desc(), id.desc())
    if after is not None:
        same = and_(at == after.at, id < after.id)
        statement = statement.where(or_(at < after.at, same))
    rows = (await reader.execute(statement.limit(limit + 1))).mappings().all()
    items = [kind.show(row) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return items, None if last is None else Place(last["at"], last["id"])


async def count(reader: Reader, kind: Kind, question: Question) -> int:
    """How many facts there are."""
    statement = _asked(select(func.count()).select_from(kind.table), kind, question)
    return int((await reader.execute(statement)).scalar_one())


async def incident(reader: Reader, id: str) -> Shown | None:
    """One incident with its transitions, or None."""
    found = await reader.execute(select(INCIDENTS).where(INCIDENTS.c.incident == id))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    moves = await reader.execute(
        select(TRANSITIONS).where(TRANSITIONS.c.incident == id).order_by(TRANSITIONS.c.seq)
    )
    return {**_incident(row), "transitions": [_transition(move) for move in moves.mappings()]}


async def track(reader: Reader, id: str) -> Shown | None:
    """One track with its points, or None."""
    found = await reader.execute(select(TRACKS).where(TRACKS.c.track == id))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    seconds = await reader.execute(
        select(TRACK_SECONDS.c.points)
        .where(TRACK_SECONDS.c.track == id)
        .order_by(TRACK_SECONDS.c.second_at)
    )
    points = [_point(*point) for second in seconds for point in second.points]
    return {**_track(row), "points": points}


async def snapshot_place(reader: Reader, id: str) -> tuple[str, int] | None:
    """Where an incident's snapshot stands in the blob store, and since when we know of the incident."""
    found = await reader.execute(
        select(INCIDENTS.c.snapshot, INCIDENTS.c.stored_at).where(INCIDENTS.c.incident == id)
    )
    row = found.one_or_none()
    return None if row is None else (row.snapshot, row.stored_at)


async def statuses(reader: Reader, ids: Sequence[str]) -> list[Shown]:
    """The present state of every camera, or of those named."""
    statement = (
        select(CAMERAS.c.id.label("of"), CAMERAS.c.name, CAMERAS.c.enabled, CAMERA_STATUS)
        .outerjoin(CAMERA_STATUS, CAMERA_STATUS.c.camera == CAMERAS.c.id)
        .where(CAMERAS.c.removed_at.is_(None))
        .order_by(CAMERAS.c.name, CAMERAS.c.id)
    )
    if ids:
        statement = statement.where(CAMERAS.c.id.in_(ids))
    return [_status(row) for row in (await reader.execute(statement)).mappings()]


def _asked(statement: Select[Any], kind: Kind, question: Question) -> Select[Any]:
    return statement.where(
        *_time(kind, question), *_among(kind, question), *_in_zone(kind, question)
    )


def _time(kind: Kind, question: Question) -> list[ColumnElement[bool]]:
    """A track counts where any of its life lies in the time asked for."""
    ends = kind.table.c.last_at if kind is TRACK_KIND else kind.table.c.at
    found = []
    if question.since is not None:
        found.append(ends >= question.since)
    if question.until is not None:
        found.append(kind.table.c.at < question.until)
    return found


def _among(kind: Kind, question: Question) -> list[ColumnElement[bool]]:
    asked = {
        "camera": question.cameras,
        "label": question.labels,
        "severity": question.severities,
        "rule": question.rules,
        "state": question.states,
    }
    return [kind.table.c[column].in_(values) for column, values in asked.items() if values]


def _in_zone(kind: Kind, question: Question) -> list[ColumnElement[bool]]:
    if not question.zones:
        return []
    if "zone" in kind.table.c:
        return [kind.table.c.zone.in_(question.zones)]
    # LIKE minds no case on one database and does on the other; REPLACE is exact on both.
    names = kind.table.c.zones
    quoted = [msgspec.json.encode(zone).decode() for zone in question.zones]
    return [or_(*(func.replace(names, name, "") != names for name in quoted))]


def _detection(row: RowMapping) -> Shown:
    return {
        "camera": row["camera"],
        "epoch": row["epoch"],
        "seq": row["seq"],
        "at": rfc3339(row["at"]),
        "class": row["label"],
        "score": row["score"],
        "box": [row["box_left"], row["box_top"], row["box_width"], row["box_height"]],
        "frame": [row["width"], row["height"]],
        "zones": msgspec.json.decode(row["zones"]),
        "model": row["model"],
        "simulated": row["simulated"],
    }


def _track(row: RowMapping) -> Shown:
    return {
        "track": row["track"],
        "camera": row["camera"],
        "epoch": row["epoch"],
        "class": row["label"],
        "first_at": rfc3339(row["at"]),
        "last_at": rfc3339(row["last_at"]),
        "born_at": rfc3339(row["born_at"]),
        "frame": [row["width"], row["height"]],
        "zones": msgspec.json.decode(row["zones"]),
        "simulated": row["simulated"],
    }


def _point(at: int, *sides: float) -> Shown:
    *box, score = sides
    return {"at": rfc3339(at), "box": box, "score": score}


def _incident(row: RowMapping) -> Shown:
    return {
        "incident": row["incident"],
        "camera": row["camera"],
        "severity": row["severity"],
        "state": row["state"],
        "outcome": row["outcome"],
        "title": row["title"],
        "rule": row["rule"],
        "class": row["label"],
        "zone": row["zone"],
        "line": row["line"],
        "tracks": row["tracks"],
        "started_at": rfc3339(row["started_at"]),
        "matched_at": rfc3339(row["at"]),
        "last_matched_at": rfc3339(row["last_at"]),
        "count": row["count"],
        "margin": row["margin"],
        "suppressed": row["suppressed"],
        "simulated": row["simulated"],
        "epoch": row["epoch"],
        "seq": row["seq"],
        "snapshot": f"/api/v1/incidents/{row['incident']}/snapshot",
        "cause": row["cause"],
    }


def _alert(row: RowMapping) -> Shown:
    return {
        "alert": row["alert"],
        "incident": row["incident"],
        "camera": row["camera"],
        "camera_name": row["camera_name"],
        "severity": row["severity"],
        "title": row["title"],
        "summary": row["summary"],
        "rule": row["rule"],
        "class": row["label"],
        "zone": row["zone"],
        "line": row["line"],
        "tracks": row["tracks"],
        "matched_at": rfc3339(row["at"]),
        "raised_at": rfc3339(row["raised_at"]),
        "margin": row["margin"],
        "simulated": row["simulated"],
        "epoch": row["epoch"],
        "seq": row["seq"],
        "snapshot": f"/api/v1/incidents/{row['incident']}/snapshot",
        "cause": row["cause"],
    }


def _transition(row: RowMapping) -> Shown:
    names = ("seq", "source", "target", "actor", "reason", "outcome")
    return {**{name: row[name] for name in names}, "moved_at": rfc3339(row["moved_at"])}


def _status(row: RowMapping) -> Shown:
    known = row["state"] is not None
    figures = ("epoch", "width", "height", "fps", "sent", "dropped", "attempt")
    return {
        "camera": row["of"],
        "name": row["name"],
        "enabled": row["enabled"],
        "state": row["state"] if known else "unknown",
        "reason": row["reason"] if known else "nothing was heard of it yet",
        "since": rfc3339(row["state_since"]) if known else None,
        "changed_at": rfc3339(row["changed_at"]) if known else None,
        **{name: row[name] if known else 0 for name in figures},
    }


def _kind(name: str, table: Table, show: Callable[[RowMapping], Shown], columns: str) -> Kind:
    return Kind(name, table, show, tuple(columns.split()))


DETECTION_KIND = _kind(
    "detections",
    DETECTIONS,
    _detection,
    "camera epoch seq at class score box frame zones model simulated",
)
TRACK_KIND = _kind(
    "tracks",
    TRACKS,
    _track,
    "track camera epoch class first_at last_at born_at frame zones simulated",
)
INCIDENT_KIND = _kind(
    "incidents",
    INCIDENTS,
    _incident,
    "incident camera severity state outcome title rule class zone line tracks started_at matched_at "
    "last_matched_at count margin suppressed simulated epoch seq cause",
)
ALERT_KIND = _kind(
    "alerts",
    ALERTS,
    _alert,
    "alert incident camera camera_name severity title summary rule class zone line tracks matched_at "
    "raised_at margin simulated epoch seq cause",
)
