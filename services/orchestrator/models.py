"""The orchestrator's tables: versions of rules and cameras, incidents and their transitions."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.db.base import new_metadata

metadata = new_metadata("orchestrator")

rules = Table(
    "rules",
    metadata,
    Column("rule", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("rule_version", String(64), nullable=False),
    Column("rule_hash", String(64), nullable=False),
    Column("document", LargeBinary),  # JSON; NULL: removed by this revision
    Column("effective_at", BigInteger, nullable=False),
    Column("author", String(128), nullable=False),
    Column("saved_at", BigInteger, nullable=False),
)

cameras = Table(
    "cameras",
    metadata,
    Column("camera", String(64), primary_key=True),
    Column("document_version", Integer, primary_key=True),
    Column("effective_at", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # JSON of camera.configured
)

plans = Table(
    "plans",
    metadata,
    Column("camera", String(64), primary_key=True),
    Column(
        "plan", LargeBinary, nullable=False
    ),  # what was said last: JSON, or empty for a tombstone
)

incidents = Table(
    "incidents",
    metadata,
    Column("incident", String(36), primary_key=True),
    Column("camera", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("matched_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("suppressed", Integer, nullable=False),
    Column("margin", Float, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("tracks", JSON, nullable=False),
    Index("ix_incidents_matched_at", "matched_at"),
)

transitions = Table(
    "transitions",
    metadata,
    Column("incident", ForeignKey("incidents.incident", ondelete="CASCADE"), primary_key=True),
    Column(
        "seq", Integer, primary_key=True
    ),  # UNIQUE(incident, seq): a conflict means decide again
    Column("event_id", String(36), nullable=False),
    Column("source", String(16)),
    Column("target", String(16), nullable=False),
    Column("moved_at", BigInteger, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("request", String(128)),  # the caller's Idempotency-Key
    UniqueConstraint("event_id"),
    Index("ix_transitions_request", "request"),
)
