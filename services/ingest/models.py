"""Ingest's tables: what is known of each camera's stream, so that a restart goes on truthfully, and who shares them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from shared.db.base import new_metadata

metadata = new_metadata("ingest")

streams = Table(
    "streams",
    metadata,
    Column("camera", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # open, ended or closed
    Column("url", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("name", String(64), primary_key=True),  # VANTAGE_INSTANCE of an ingest process
    Column("life", String(32), nullable=False),  # of this start: another one is another process
    Column("beat", BigInteger, nullable=False),  # grows while it lives
    Column("room", Integer, nullable=True),  # cameras that it may hold; null: any number
)
