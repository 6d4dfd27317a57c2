"""Ingest's table: what is known of each camera's stream, so that a restart goes on truthfully."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

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
