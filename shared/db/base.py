"""Tables: a MetaData per service, the platform's own tables, and column types that mean the same everywhere.

The platform's tables stand in every service's database and are migrated by a chain of their own
(`shared/db/migrations`), so that a service's migrations hold its own tables only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import JSON, BigInteger, Column, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects.postgresql import Insert

if TYPE_CHECKING:
    from collections.abc import Sequence

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Micros = BigInteger
"""Event and host times: microseconds since 1970-01-01T00:00:00 UTC."""

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key that counts by itself (SQLite counts only INTEGER keys, which are 64 bits there)."""


def new_metadata(service: str) -> MetaData:
    """The MetaData of a service's tables, with constraint names that migrations can rely on."""
    return MetaData(naming_convention=CONVENTION, info={"service": service})


PLATFORM = new_metadata("platform")

OUTBOX = Table(
    "outbox",
    PLATFORM,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("event_id", String, nullable=False),
    Column("topic", String, nullable=False),
    Column("key", String, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("value", LargeBinary),
    Column("added_at", Micros, nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, even when the newest row was deleted
)

INBOX = Table(
    "inbox",
    PLATFORM,
    Column("consumer", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("seen_at", Micros, nullable=False, index=True),
)

CHECKPOINTS = Table(
    "checkpoints",
    PLATFORM,
    Column("consumer", String, primary_key=True),
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("saved_at", Micros, nullable=False),
)

LEASES = Table(
    "leases",
    PLATFORM,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("expires_at", Micros, nullable=False),
)


def platform_tables(metadata: MetaData) -> Sequence[Table]:
    """Copies of the platform's tables in a service's MetaData, for comparing it with a migrated database."""
    return [table.to_metadata(metadata) for table in PLATFORM.sorted_tables]


def insert_new(table: Table) -> Insert:
    """INSERT that skips rows whose key is there already; `.returning(...)` answers the new ones alone.

    `ON CONFLICT DO NOTHING` reads the same in SQLite and PostgreSQL, and SQLAlchemy writes it for both.
    """
    return Insert(table).on_conflict_do_nothing()


def insert_or_update(
    table: Table, *, keys: Sequence[str], update: Sequence[str], newer: str | None = None
) -> Insert:
    """INSERT that updates the columns `update` of a row whose `keys` are there already.

    newer: a column; a row is only updated when the given value is not below the stored one.
    """
    statement = Insert(table)
    given = statement.excluded
    where = None if newer is None else table.c[newer] <= given[newer]
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: given[name] for name in update}, where=where
    )
