"""Migrations: two chains, one transaction, and a clear word to who comes with old code."""

import pytest

from shared.clock import ManualClock
from shared.errors import Setup
from tests.engines.databases import open_database
from tests.unit.db.conftest import Package
from tests.unit.db.schemas import FIRST, PLATFORM_TABLES, SECOND, tables

CLOCK = ManualClock(now=1)


async def opened(url: str, package: Package) -> list[str]:
    async with open_database(url, service="vms", clock=CLOCK, migrations=package.name):
        return await tables(url)


async def test_a_new_database_gets_both_chains(database_url: str, package: Package) -> None:
    package.write("0001_first", FIRST)
    assert await opened(database_url, package) == sorted(
        [*PLATFORM_TABLES, "things", "vms_alembic"]
    )


async def test_an_old_one_is_brought_on(database_url: str, package: Package) -> None:
    package.write("0001_first", FIRST)
    await opened(database_url, package)
    package.write("0002_second", SECOND.format(then=""))
    assert "others" in await opened(database_url, package)
    assert "others" in await opened(database_url, package)


async def test_a_step_that_fails_leaves_the_old_schema_whole(
    database_url: str, package: Package
) -> None:
    package.write("0001_first", FIRST)
    await opened(database_url, package)
    package.write("0002_second", SECOND.format(then="raise ZeroDivisionError"))
    with pytest.raises(ZeroDivisionError):
        await opened(database_url, package)
    assert "others" not in await tables(database_url)
    package.write("0002_second", SECOND.format(then=""))
    assert "others" in await opened(database_url, package)


async def test_a_database_ahead_of_the_code_is_refused_and_kept(
    database_url: str, package: Package
) -> None:
    package.write("0001_first", FIRST)
    package.write("0002_second", SECOND.format(then=""))
    await opened(database_url, package)
    package.remove("0002_second")
    with pytest.raises(Setup, match=r"newer Vantage .*0002.* knows 0001.* restore the backup"):
        await opened(database_url, package)
    assert "others" in await tables(database_url)


async def test_missing_migrations_are_said(database_url: str) -> None:
    with pytest.raises(Setup, match="reinstall"):
        async with open_database(
            database_url,
            service="vms",
            clock=CLOCK,
            migrations="shared.db.nothing",
        ):
            pass
