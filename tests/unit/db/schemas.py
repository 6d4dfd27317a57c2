"""Two steps of a schema, and what stands in a database."""

from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

FIRST = """
    import sqlalchemy as sa
    from alembic import op
    revision = "0001"
    down_revision = None
    def upgrade() -> None:
        op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))
"""
SECOND = """
    import sqlalchemy as sa
    from alembic import op
    revision = "0002"
    down_revision = "0001"
    def upgrade() -> None:
        op.create_table("others", sa.Column("id", sa.Integer, primary_key=True))
        {then}
"""

PLATFORM_TABLES = ["checkpoints", "inbox", "leases", "outbox", "platform_alembic"]


async def tables(url: str, service: str = "vms") -> list[str]:
    """The names of a service's tables, by alphabet."""
    sqlite = url.startswith("sqlite")
    engine = create_async_engine(f"{url}/{service}.db" if sqlite else url)

    def names(connection: Connection) -> list[str]:
        return sorted(inspect(connection).get_table_names(schema=None if sqlite else service))

    try:
        async with engine.connect() as connection:
            return await connection.run_sync(names)
    finally:
        await engine.dispose()
