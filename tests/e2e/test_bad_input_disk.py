"""A full disk under the data folder: said, nothing torn, killed and started again, well again when there is space."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import begin, said
from tests.e2e.server import Server, eventually
from tests.engines.require import missing_right

CAMERAS = "/api/v1/cameras"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing_right("a small disk needs the right to mount one (Linux, root)")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        missing_right(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_said_survived_and_healed(small: Path, tmp_path: Path) -> None:
    server = Server(small / "data")
    server.log = tmp_path / "server.log"  # not on the disk that fills up
    server.start()
    server.call("POST", CAMERAS, {"name": "Good", "url": "sim://demo?duration=3600&resume=1"})
    eventually(lambda: _good(server)["state"] == "online")

    _fill(small)
    full = eventually(lambda: _fault(server), seconds=20)
    assert "free some space" in full
    eventually(lambda: _refused(server, small), seconds=20)

    server.kill()
    status, errors = said(begin("up", "--port", "0", folder=server.folder))
    assert (status > 0, "Traceback" in errors) == (True, False), errors
    assert "free some space" in errors

    (small / "filler").unlink()
    server.start()
    cameras = server.call("GET", CAMERAS)["items"]
    assert "refused" not in {camera["id"] for camera in cameras}
    assert "good" in {camera["id"] for camera in cameras}
    eventually(lambda: _good(server)["state"] == "online" and _good(server)["epoch"] > 1)

    _fill(small)
    eventually(lambda: _fault(server), seconds=20)
    (small / "filler").unlink()
    eventually(lambda: not _fault(server), seconds=30)
    server.call("POST", CAMERAS, {"name": "Later", "url": "rtsp://10.255.255.1/later"})
    assert server.stop() == 0
    assert {_whole(file) for file in server.folder.rglob("*.db")} == {"ok"}


def _good(server: Server) -> dict[str, Any]:
    items = server.call("GET", "/api/v1/camera-status", camera="good")["items"]
    return dict(items[0]) if items else {"state": ""}


def _fill(small: Path) -> None:
    """Write until there is no room, and a little later until there is none again."""
    with (small / "filler").open("ab", buffering=0) as filler:
        while shutil.disk_usage(small).free:
            try:
                filler.write(b"x" * 4096)
            except OSError:
                return


def _fault(server: Server) -> str:
    """What /health says of the disk while it is unhealthy."""
    answer = server.ask("GET", "/health")
    disk = answer.json()["details"]["dependencies"]["disk"]
    return str(disk["reason"]) if answer.status_code == 503 else ""


def _refused(server: Server, small: Path) -> bool:
    """Whether a camera cannot be saved, which is said with the remedy."""
    _fill(small)
    body = {"name": "Refused", "url": "rtsp://10.255.255.1/refused"}
    answer = server.ask("POST", CAMERAS, body)
    if answer.status_code == 201:  # there was room in the journal
        server.ask("DELETE", f"{CAMERAS}/refused")
        return False
    assert answer.status_code == 503
    assert "free some space" in answer.json()["detail"]
    return True


def _whole(file: Path) -> str:
    with closing(sqlite3.connect(file)) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
