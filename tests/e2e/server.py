"""`vantage up` as its user starts it: a process of its own, killed and restarted at will, spoken to from outside."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.engines.processes import end, kill, spawn, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_S = 90.0  # generous: CI machines are shared


class Server:
    """One data folder and, when started, one `vantage up` on it at a free port.

    In a `with` it is started, and ends in good order.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.log = folder.parent / f"{folder.name}.log"
        self.environment = {
            "VANTAGE_LOG_FORMAT": "text",
            "VANTAGE_WEBHOOK_NETS": "127.0.0.0/8",
            **(environment or {}),
        }
        self.options: tuple[str, ...] = ()  # more of the command line
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0  # where this life's log begins

    def start(self) -> None:
        """Start and wait until it is ready."""
        self._from = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "services.main", "up", "--port", "0", *self.options]
        self._process = spawn(
            [*command, "--data-dir", str(self.folder)], log=self.log, environment=self.environment
        )
        wait_until(self._ready, seconds=READY_S, process=self._process, log=self.log)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        kill(self._process)

    def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        assert self._process is not None
        end(self._process, grace=40)
        return int(self._process.returncode)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the present life."""
        assert self._process is not None
        return self._process.pid

    def text(self) -> str:
        """What this life has printed so far."""
        return self.log.read_bytes()[self._from :].decode(errors="replace")

    @property
    def url(self) -> str:
        """The address it printed."""
        return self._printed(r"Vantage listens on (http://\S+)")

    @property
    def sign_in_link(self) -> str:
        """The sign-in link that the first start printed."""
        return self._printed(r"(http://\S+/login#\S+)")

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Call the API as the machine's owner, over the Unix socket; fails on anything but 2xx."""
        answer = self.ask(method, path, body, **query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.content

    def ask(self, method: str, path: str, body: object = None, **query: object) -> httpx.Response:
        """The same, whatever the answer."""
        transport = httpx.HTTPTransport(uds=str(self.folder / "run" / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://vantage", timeout=30) as client:
            return client.request(method, path, json=body, params=query or None)  # type: ignore[arg-type]

    def every(self, path: str, **query: object) -> list[dict[str, Any]]:
        """All items of a paged list."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self.call("GET", path, None, limit=100, **query, **more)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    def film_position(self, camera: str) -> int:
        """The scene time of a camera that ingest has stored, in microseconds; -1 before the first."""
        file = self.folder / "db" / "ingest.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            query = "SELECT position FROM streams WHERE camera = ?"
            row = database.execute(query, (camera,)).fetchone()
        return -1 if row is None else int(row[0])

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.text())
        assert found is not None, self.text()[-2000:]
        return found.group(1)

    def _ready(self) -> bool:
        if "Vantage listens on" not in self.text():
            return False
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def eventually(check: Any, *, seconds: float = 60.0, every: float = 0.2) -> Any:
    """Call `check` until it answers something true, and answer that; fail with its last answer when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer: {found!r}"
        time.sleep(every)


def ids(rows: Sequence[Mapping[str, Any]], name: str = "id") -> list[str]:
    """One field of every row, sorted."""
    return sorted(str(row[name]) for row in rows)
