"""The gateway's tables: users, sessions, sign-in links, clients, and the audit trail. Of secrets there are digests only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Table, Text

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

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("source", String(128), nullable=False),
    Column("correlation", String(128), nullable=False),
    Column("actor", String(64), nullable=False, index=True),
    Column("actor_kind", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(256), nullable=False, index=True),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(256), nullable=False),
    Column("recorded_at", Micros, nullable=False, index=True),
    Column("hash", String(64), nullable=False),
)

dead_letter_replays = Table(
    "dead_letter_replays",
    metadata,
    Column("origin", String(256), primary_key=True),  # topic/partition/offset/group
    Column("begun_at", Micros, nullable=False),
    Column("done_at", Micros),
)
