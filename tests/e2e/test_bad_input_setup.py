"""A server that cannot start as it is set up says what to change, without a traceback, and harms nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.e2e.commands import begin, said


def test_what_keeps_a_server_from_starting_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    up = ("up", "--port", "0")
    cases = {
        "file": (tmp_path / "file", up, "--data-dir or VANTAGE_DATA_DIR"),
        "broken": (_settings(tmp_path / "broken", "port = = 3"), up, "line 1"),
        "log": (_log(tmp_path / "log"), up, "restore it from a backup"),
        "ahead": (_ahead(tmp_path / "ahead"), ("run", "vms", "--port", "0"), "by a newer Vantage"),
    }
    started = {name: begin(*words, folder=folder) for name, (folder, words, _) in cases.items()}
    wrong = {}
    for name, process in started.items():
        status, errors = said(process)
        if status != 2 or cases[name][2] not in errors or "Traceback" in errors:
            wrong[name] = (status, errors)
    assert wrong == {}
    assert (tmp_path / "log" / "log" / "log.db").read_bytes() == b"this is no log\n" * 1000
    assert _revision(tmp_path / "ahead") == "9999"


def _settings(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "vantage.toml").write_text(text, encoding="utf-8")
    return folder


def _log(folder: Path) -> Path:
    (folder / "log").mkdir(parents=True)
    (folder / "log" / "log.db").write_bytes(b"this is no log\n" * 1000)
    return folder


def _ahead(folder: Path) -> Path:
    """A database that another version has migrated further."""
    (folder / "db").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "db" / "vms.db")) as database:
        database.execute("CREATE TABLE vms_alembic (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        database.execute("INSERT INTO vms_alembic VALUES ('9999')")
        database.commit()
    return folder


def _revision(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "db" / "vms.db")) as database:
        return str(database.execute("SELECT version_num FROM vms_alembic").fetchone()[0])
