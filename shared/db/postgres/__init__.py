"""PostgreSQL as the database of every service: one schema a service, many writers beside each other."""

from shared.db.postgres.adapter import open_postgres

__all__ = ["open_postgres"]
