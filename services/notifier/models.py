"""The notifier's tables: channels, subscriptions, one delivery row per alert and subscription, and its tries."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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

metadata = new_metadata("notifier")


channels = Table(
    "channels",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(64), nullable=False, unique=True),
    Column("url", Text, nullable=False, default=""),
    Column("secret", Text, nullable=False, default=""),  # sealed
    Column("old_secret", Text, nullable=False, default=""),  # sealed; signs too until `old_until`
    Column("old_until", BigInteger, nullable=False, default=0),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("disabled_reason", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("channel", ForeignKey("channels.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("filters", LargeBinary, nullable=False),  # msgspec JSON of domain.Subscription
    Column("created_at", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("alert", String(64), nullable=False),
    Column("incident", String(64), nullable=False, index=True),
    Column("camera", String(64), nullable=False),
    # No foreign key: what was delivered stays known after its channel is gone.
    Column("subscription", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("next_at", BigInteger),
    Column("claimed_by", String(64), nullable=False, default=""),
    Column("claimed_until", BigInteger, nullable=False, default=0),
    Column("event", LargeBinary, nullable=False),  # the AlertRaised as JSON
    Column("incident_state", String(16), nullable=False, default="OPEN"),
    Column("detail", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    # Of the frame that it began with: what is said of it much later belongs to the same trace.
    Column("traceparent", String(64), nullable=False, default="", server_default=""),
    Column("correlation", String(128), nullable=False, default="", server_default=""),
    UniqueConstraint("alert", "subscription", name="uq_deliveries_alert_subscription"),
    Index("ix_deliveries_due", "state", "next_at"),
    Index("ix_deliveries_changed", "changed_at"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("delivery", ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("took_ms", Integer, nullable=False),
)
