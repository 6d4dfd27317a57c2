"""Migrations: two chains, one transaction, and a clear word to who comes with old code."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from shared.clock import ManualClock
from shared.db.base import PLATFORM, new_metadata, platform_tables
from shared.db.sqlite import open_sqlite
from shared.errors import Setup

CLOCK = ManualClock(now=1)
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


class Package:
    """A package of migrations that grows while the test runs."""

    def __init__(self, folder: Path) -> None:
        self.name = "vantage_test_migrations"
        self._versions = folder / self.name / "versions"
        self._versions.mkdir(parents=True)
        (folder / self.name / "__init__.py").write_text("")

    def write(self, name: str, code: str) -> None:
        (self._versions / f"{name}.py").write_text(dedent(code))

    def remove(self, name: str) -> None:
        (self._versions / f"{name}.py").unlink()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    folder = tmp_path / "code"
    made = Package(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made
    sys.modules.pop(made.name, None)


async def opened(folder: Path, package: Package) -> list[str]:
    url = f"sqlite+aiosqlite:///{folder}"
    async with open_sqlite(url, service="vms", clock=CLOCK, migrations=package.name):
        return tables(folder)


def tables(folder: Path) -> list[str]:
    engine = create_engine(f"sqlite:///{folder / 'vms.db'}")
    try:
        return sorted(inspect(engine).get_table_names())
    finally:
        engine.dispose()


PLATFORM_TABLES = ["checkpoints", "inbox", "leases", "outbox", "platform_alembic"]


async def test_a_new_database_gets_both_chains(tmp_path: Path, package: Package) -> None:
    package.write("0001_first", FIRST)
    assert await opened(tmp_path, package) == sorted([*PLATFORM_TABLES, "things", "vms_alembic"])


async def test_an_old_one_is_brought_on(tmp_path: Path, package: Package) -> None:
    package.write("0001_first", FIRST)
    await opened(tmp_path, package)
    package.write("0002_second", SECOND.format(then=""))
    assert "others" in await opened(tmp_path, package)
    assert "others" in await opened(tmp_path, package)


async def test_a_step_that_fails_leaves_the_old_schema_whole(
    tmp_path: Path, package: Package
) -> None:
    package.write("0001_first", FIRST)
    await opened(tmp_path, package)
    package.write("0002_second", SECOND.format(then="raise ZeroDivisionError"))
    with pytest.raises(ZeroDivisionError):
        await opened(tmp_path, package)
    assert "others" not in tables(tmp_path)
    package.write("0002_second", SECOND.format(then=""))
    assert "others" in await opened(tmp_path, package)


async def test_a_database_ahead_of_the_code_is_refused_and_kept(
    tmp_path: Path, package: Package
) -> None:
    package.write("0001_first", FIRST)
    package.write("0002_second", SECOND.format(then=""))
    await opened(tmp_path, package)
    package.remove("0002_second")
    with pytest.raises(Setup, match=r"newer Vantage .*0002.* knows 0001.* restore the backup"):
        await opened(tmp_path, package)
    assert "others" in tables(tmp_path)


async def test_missing_migrations_are_said(tmp_path: Path) -> None:
    with pytest.raises(Setup, match="reinstall"):
        async with open_sqlite(
            f"sqlite+aiosqlite:///{tmp_path}",
            service="vms",
            clock=CLOCK,
            migrations="shared.db.nothing",
        ):
            pass


async def test_the_migrated_platform_tables_are_those_of_the_code(tmp_path: Path) -> None:
    async with open_sqlite(f"sqlite+aiosqlite:///{tmp_path}", service="vms", clock=CLOCK):
        pass
    engine = create_engine(f"sqlite:///{tmp_path / 'vms.db'}")
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": False,
            "include_object": lambda _o, name, *_: not str(name).endswith("_alembic"),
        },
    )
    metadata = new_metadata("vms")
    platform_tables(metadata)
    assert set(metadata.tables) == set(PLATFORM.tables)
    connection.execute(text("SELECT 1"))
    return list(compare_metadata(context, metadata))
