"""Tables of the video management service: the site, its cameras, and the history of facts.

Facts have a number that grows with their arrival (retention goes by it) and a key of their own (a fact that
comes again finds its row). `stored_at` is host time: the age of a row never depends on a camera's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.db.base import Micros, Serial, new_metadata

if TYPE_CHECKING:
    from sqlalchemy.sql.schema import SchemaItem

metadata = new_metadata("vms")


def _facts(name: str, *items: SchemaItem, **options: Any) -> Table:  # noqa: ANN401 - Table's own
    return Table(
        name,
        metadata,
        Column("id", Serial, primary_key=True, autoincrement=True),
        *items,
        Column("stored_at", Micros, nullable=False),
        sqlite_autoincrement=True,
        **options,
    )


def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False)


SITE = Table(
    "site",
    metadata,
    Column("id", String, primary_key=True),
    _text("name"),
    _text("time_zone"),
    Column("changed_at", Micros, nullable=False),
)

CAMERAS = Table(
    "cameras",
    metadata,
    Column("id", String, primary_key=True),
    _text("name"),
    Column("enabled", Boolean, nullable=False),
    Column("url", Text, nullable=False),  # without user and password
    # The URL in its one spelling; null once removed, so that another camera may have it.
    Column("url_key", Text, unique=True),
    Column("credentials", Text, nullable=False),  # sealed, or empty
    Column("zones", JSON, nullable=False),
    Column("lines", JSON, nullable=False),
    Column("masks", JSON, nullable=False),
    Column("detect", JSON, nullable=False),
    # A removed camera stays as a row, so that one made again under its id goes on counting.
    Column("document_version", Integer, nullable=False),
    Column("effective_at", Micros, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("changed_at", Micros, nullable=False),
    Column("removed_at", Micros),
)

CAMERA_STATUS = Table(
    "camera_status",
    metadata,
    Column("camera", String, primary_key=True),
    _text("state"),
    Column("state_since", Micros, nullable=False),
    Column("reason", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("changed_at", Micros, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("fps", Float, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
)

DETECTIONS = _facts(
    "detections",
    _text("camera"),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("at", Micros, nullable=False),
    _text("label"),
    Column("score", Float, nullable=False),
    Column("box_left", Float, nullable=False),
    Column("box_top", Float, nullable=False),
    Column("box_width", Float, nullable=False),
    Column("box_height", Float, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("zones", Text, nullable=False),  # names as JSON, those that held the foot point
    _text("model"),
    Column("simulated", Boolean, nullable=False),
    UniqueConstraint("camera", "epoch", "seq", "ordinal", name="uq_detections_place"),
    Index("ix_detections_at", "at", "id"),
    Index("ix_detections_camera_at", "camera", "at", "id"),
    Index("ix_detections_label_at", "label", "at", "id"),
)

TRACKS = _facts(
    "tracks",
    _text("track"),
    _text("camera"),
    Column("epoch", Integer, nullable=False),
    _text("label"),
    Column("at", Micros, nullable=False),  # its first point
    Column("last_at", Micros, nullable=False),
    Column("born_at", Micros, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("zones", Text, nullable=False),  # names as JSON, those that held a foot point of it
    Column("simulated", Boolean, nullable=False),
    UniqueConstraint("track", name="uq_tracks_track"),
    Index("ix_tracks_at", "at", "id"),
    Index("ix_tracks_camera_at", "camera", "at", "id"),
    Index("ix_tracks_label_at", "label", "at", "id"),
)

TRACK_SECONDS = _facts(
    "track_seconds",
    _text("track"),
    Column("second_at", Micros, nullable=False),
    Column("points", JSON, nullable=False),  # [at, left, top, width, height, score] each
    UniqueConstraint("track", "second_at", name="uq_track_seconds_place"),
)

INCIDENTS = _facts(
    "incidents",
    _text("incident"),
    _text("camera"),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    _text("title"),
    _text("severity"),
    _text("label"),
    Column("tracks", JSON, nullable=False),
    _text("zone"),
    _text("line"),
    Column("started_at", Micros, nullable=False),
    Column("at", Micros, nullable=False),  # when the rule matched
    Column("last_at", Micros, nullable=False),  # when it matched last
    Column("count", Integer, nullable=False),
    Column("margin", Float, nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("snapshot", Text, nullable=False),
    _text("rule"),
    Column("cause", JSON, nullable=False),
    _text("state"),
    Column("state_seq", Integer, nullable=False),
    _text("outcome"),
    UniqueConstraint("incident", name="uq_incidents_incident"),
    Index("ix_incidents_at", "at", "id"),
    Index("ix_incidents_camera_at", "camera", "at", "id"),
    Index("ix_incidents_severity_at", "severity", "at", "id"),
)

TRANSITIONS = _facts(
    "transitions",
    _text("incident"),
    Column("seq", Integer, nullable=False),
    Column("source", String),
    _text("target"),
    Column("moved_at", Micros, nullable=False),
    _text("actor"),
    _text("reason"),
    _text("outcome"),
    UniqueConstraint("incident", "seq", name="uq_transitions_place"),
)

ALERTS = _facts(
    "alerts",
    _text("alert"),
    _text("incident"),
    _text("camera"),
    _text("camera_name"),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    _text("severity"),
    _text("title"),
    Column("summary", Text, nullable=False),
    _text("label"),
    Column("tracks", JSON, nullable=False),
    _text("zone"),
    _text("line"),
    Column("at", Micros, nullable=False),  # when the rule matched
    Column("raised_at", Micros, nullable=False),
    Column("margin", Float, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("snapshot", Text, nullable=False),
    _text("rule"),
    Column("cause", JSON, nullable=False),
    UniqueConstraint("alert", name="uq_alerts_alert"),
    Index("ix_alerts_at", "at", "id"),
    Index("ix_alerts_camera_at", "camera", "at", "id"),
    Index("ix_alerts_severity_at", "severity", "at", "id"),
)
