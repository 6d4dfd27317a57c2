"""Every service's migrations on each kind of database, compared with its models: names, types, keys and indices."""

from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from services.main import SERVICES, load
from shared.clock import ManualClock
from shared.db.base import platform_tables
from tests.engines.databases import open_database

MIGRATED = ("gateway", "ingest", "notifier", "orchestrator", "vms")


@pytest.mark.parametrize("service", MIGRATED)
async def test_the_migrated_tables_are_those_of_the_code(service: str, database_url: str) -> None:
    package = f"services.{service}.migrations"
    clock = ManualClock(now=1)
    async with open_database(database_url, service=service, clock=clock, migrations=package):
        pass
    metadata: MetaData = import_module(f"services.{service}.models").metadata
    wanted = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(wanted)
    platform_tables(wanted)
    url, arguments = f"{database_url}/{service}.db", {}
    if not database_url.startswith("sqlite"):
        url, arguments = database_url, {"server_settings": {"search_path": service}}
    engine = create_async_engine(url, connect_args=arguments)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences, wanted) == []
    finally:
        await engine.dispose()


def differences(connection: Connection, wanted: MetaData) -> list[object]:
    """What Alembic would change to come from the database to the code."""
    options = {
        "compare_type": connection.dialect.name == "postgresql",  # SQLite's types are names only
        "include_object": lambda _object, name, *_more: not str(name).endswith("_alembic"),
    }
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, wanted))


def test_no_service_is_left_out() -> None:
    assert set(MIGRATED) == {name for name in SERVICES if load(name).migrations is not None}
