"""SQLite files: their settings, and a clear error for each way in which a disk can fail."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.clock import ManualClock
from shared.db.engine import DatabaseUnavailable
from shared.db.sqlite import Sqlite, open_sqlite
from shared.errors import Setup, Transient, Unavailable

CLOCK = ManualClock(now=1)


def url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}"


async def test_each_service_has_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    for service in ("vms", "ingest"):
        async with open_sqlite(url(folder), service=service, clock=CLOCK):
            pass
    assert {"vms.db", "ingest.db"} <= {file.name for file in folder.iterdir()}


async def test_every_commit_is_on_disk_before_it_returns(tmp_path: Path) -> None:
    async with (
        open_sqlite(url(tmp_path), service="vms", clock=CLOCK) as database,
        database.transaction() as tx,
    ):
        pragmas = {
            name: (await tx.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense",
        "sqlite:///folder",
        "sqlite+aiosqlite://",
        "postgresql+asyncpg://host/db",
    ],
)
async def test_a_url_that_names_no_folder_is_refused(bad: str) -> None:
    with pytest.raises(Setup, match="VANTAGE_DB_URL"):
        async with open_sqlite(bad, service="vms", clock=CLOCK):
            pass


async def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("")
    with pytest.raises(Setup, match="no folder can be made"):
        async with open_sqlite(url(tmp_path / "db"), service="vms", clock=CLOCK):
            pass


async def test_a_folder_where_the_file_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vms.db").mkdir()
    with pytest.raises(Setup, match="cannot be opened"):
        async with open_sqlite(url(tmp_path), service="vms", clock=CLOCK):
            pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vms.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Setup, match="no SQLite database"):
        async with open_sqlite(url(tmp_path), service="vms", clock=CLOCK):
            pass
    assert (tmp_path / "vms.db").read_bytes() == b"not a database" * 100


async def test_a_full_disk_is_said_and_heals(tmp_path: Path) -> None:
    async with open_sqlite(url(tmp_path), service="vms", clock=CLOCK) as database:
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE blobs (data BLOB)"))
            pages = (await tx.execute(text("PRAGMA page_count"))).scalar_one()
            await tx.execute(text(f"PRAGMA max_page_count={pages + 2}"))
        with pytest.raises(DatabaseUnavailable, match="disk is full") as caught:
            async with database.transaction() as tx:
                await tx.execute(text("INSERT INTO blobs VALUES (zeroblob(1000000))"))
        assert isinstance(caught.value, Unavailable)
        assert isinstance(caught.value, Transient)
        async with database.transaction() as tx:
            await tx.execute(text("PRAGMA max_page_count=1000000"))
            await tx.execute(text("INSERT INTO blobs VALUES (zeroblob(1000000))"))


async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    async with open_sqlite(url(tmp_path), service="vms", clock=CLOCK) as database:
        other = sqlite3.connect(tmp_path / "vms.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.3, other.rollback)
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE a (b INTEGER)"))
        other.close()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("attempt to write a readonly database", "give this user the right to write"),
        ("disk I/O error", "look at the system's log"),
        ("database is locked", "only one server"),
        ("database disk image is malformed", "restore it from a backup"),
    ],
)
def test_each_complaint_has_its_remedy(said: str, remedy: str) -> None:
    error = OperationalError("SELECT 1", {}, sqlite3.OperationalError(said))
    complaint = Sqlite(Path("vms.db")).complaint(error)
    assert complaint is not None
    assert "vms.db" in str(complaint)
    assert remedy in str(complaint)


def test_a_wrong_statement_is_no_complaint() -> None:
    error = OperationalError("SELEC", {}, sqlite3.OperationalError('near "SELEC": syntax error'))
    assert Sqlite(Path("vms.db")).complaint(error) is None


async def test_a_crash_keeps_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    code = f"""
import asyncio, os
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from shared.clock import ManualClock
from shared.db.sqlite import open_sqlite

async def main():
    async with open_sqlite({url(tmp_path)!r}, service="vms", clock=ManualClock()) as database:
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE a (b INTEGER)"))
            await tx.execute(text("INSERT INTO a VALUES (1)"))
        async with database.transaction() as tx:
            await tx.execute(text("INSERT INTO a VALUES (2)"))
            os.kill(os.getpid(), 9)

asyncio.run(main())
"""  # noqa: S608 - a test writes its own statement
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == -9
    async with (
        open_sqlite(url(tmp_path), service="vms", clock=CLOCK) as database,
        database.read() as reader,
    ):
        assert [row.b for row in await reader.execute(text("SELECT b FROM a"))] == [1]
