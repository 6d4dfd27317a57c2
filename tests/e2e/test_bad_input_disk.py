"""A full disk under the data folder: said, nothing torn, killed and started again, well again when there is space."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.e2e.commands import begin, said
from tests.e2e.server import Server, eventually
from tests.engines.disks import FullDisk

CAMERAS = "/api/v1/cameras"


def test_a_full_disk_is_said_survived_and_healed(
    full_disk: Callable[[int], FullDisk], tmp_path: Path
) -> None:
    small = full_disk(24)
    server = Server(small.place / "data")
    server.log = tmp_path / "server.log"  # not on the disk that fills up
    server.start()
    server.call("POST", CAMERAS, {"name": "Good", "url": "sim://demo?duration=3600&resume=1"})
    eventually(lambda: _good(server)["state"] == "online")

    small.fails()
    full = eventually(lambda: _fault(server), seconds=20)
    assert "free some space" in full
    eventually(lambda: _refused(server, small), seconds=20)

    server.kill()
    status, errors = said(begin("up", "--port", "0", folder=server.folder))
    assert (status > 0, "Traceback" in errors) == (True, False), errors
    assert "free some space" in errors

    small.mends()
    server.start()
    cameras = server.call("GET", CAMERAS)["items"]
    assert "refused" not in {camera["id"] for camera in cameras}
    assert "good" in {camera["id"] for camera in cameras}
    eventually(lambda: _good(server)["state"] == "online" and _good(server)["epoch"] > 1)

    small.fails()
    eventually(lambda: _fault(server), seconds=20)
    small.mends()
    eventually(lambda: not _fault(server), seconds=30)
    server.call("POST", CAMERAS, {"name": "Later", "url": "rtsp://10.255.255.1/later"})
    assert server.stop() == 0
    assert {_whole(file) for file in server.folder.rglob("*.db")} == {"ok"}


def _good(server: Server) -> dict[str, Any]:
    items = server.call("GET", "/api/v1/camera-status", camera="good")["items"]
    return dict(items[0]) if items else {"state": ""}


def _fault(server: Server) -> str:
    """What /health says of the disk while it is unhealthy."""
    answer = server.ask("GET", "/health")
    disk = answer.json()["details"]["dependencies"]["disk"]
    return str(disk["reason"]) if answer.status_code == 503 else ""


def _refused(server: Server, small: FullDisk) -> bool:
    """Whether a camera cannot be saved, which is said with the remedy."""
    small.fails()
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
