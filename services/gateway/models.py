"""The gateway's tables: users, sessions, sign-in links and clients. Secrets are stored as digests only."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text

from shared.db.base import Micros, new_metadata

metadata = new_metadata("gateway")

users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False, default=""),  # Argon2id; empty: none set
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Micros, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("seed", Text, nullable=False),  # sealed; refresh tokens are derived from it
    Column("generation", Integer, nullable=False, default=0),
    Column("csrf", String(64), nullable=False),  # digest
    Column("created_at", Micros, nullable=False),
    Column("rotated_at", Micros, nullable=False),
    Column("revoked_at", Micros),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Micros, nullable=False),
)

# Apart from what they belonged to: a removed user's sessions and a removed client must stay refused.
revocations = Table(
    "revocations",
    metadata,
    Column("id", String(64), primary_key=True),  # of a session or a client
    Column("revoked_at", Micros, nullable=False, index=True),
)

clients = Table(
    "clients",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column(
        "digest", String(64), nullable=False
    ),  # SHA-256 of the secret, which has 256 random bits
    Column("scopes", Text, nullable=False),
    Column("created_at", Micros, nullable=False),
)
