"""`vantage up --engines` as its user starts it, and its processes one by one, to be killed and watched."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil

from services.engines.house import ENGINES
from services.engines.places import Place, open_place
from tests.e2e.server import Server, eventually
from tests.engines.require import require_engine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWERING = ("cameras", "rules", "channels", "deliveries", "camera-status", "alerts")


class House(Server):
    """One data folder and, when started, one house of processes on it; the API is the gateway's."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        replicas: str = "",
    ) -> None:
        super().__init__(folder, environment)
        self.options = ("--engines", *(("--replicas", replicas) if replicas else ()))

    def start(self) -> None:
        """Start and wait until the gateway reaches every service."""
        for engine in ENGINES:
            require_engine(engine.missing())
        super().start()
        eventually(self.reached)

    def reached(self) -> bool:
        """Whether a call to any service is answered."""
        return all(self.ask("GET", f"/api/v1/{name}").status_code == 200 for name in ANSWERING)

    def member(self, name: str) -> int:
        """The process id of a service, e.g. `orchestrator-main-2`; 0 while a new one takes over."""
        return int((self.folder / "run" / f"{dotted(name)}.lock").read_text() or 0)

    def kill_member(self, name: str) -> int:
        """kill -9 one process; answers its id, once it is gone."""
        found = psutil.Process(self.member(name))
        os.kill(found.pid, signal.SIGKILL)
        eventually(lambda: not found.is_running() or found.status() == psutil.STATUS_ZOMBIE)
        return found.pid

    def until_back(self, name: str, old: int) -> None:
        """Wait until the house has started a killed process again."""
        eventually(lambda: self.member(name) not in (0, old))

    def until_ready(self, name: str) -> None:
        """Wait until a process takes calls."""
        eventually(lambda: status_of(self.socket(name), "/ready") == 200)

    def socket(self, name: str) -> Path:
        """The owner's socket of a process."""
        first = dotted(name).replace("gateway.", "api.").removesuffix(".main")
        return self.folder / "run" / f"{first}.sock"

    def place(self, engine: str) -> Place:
        """The folder and port of an engine."""
        place, _ = open_place(self.folder / "engines" / engine, dying_s=0)
        return place

    def engine_url(self, name: str) -> str:
        """The URL by which services reach an engine."""
        return next(one for one in ENGINES if one.name == name).url(self.place(name))

    def select(self, query: str, *values: object) -> list[Any]:
        """Rows of the services' databases."""
        return asyncio.run(self._select(query, values))

    async def _select(self, query: str, values: tuple[object, ...]) -> list[Any]:
        url = self.engine_url("postgres").replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    def film_position(self, camera: str) -> int:
        """See `Server.film_position`."""
        rows = self.select("SELECT position FROM ingest.streams WHERE camera = $1", camera)
        return int(rows[0]["position"]) if rows else -1

    def logs(self, name: str) -> str:
        """What a process has written, over all its lives."""
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def left(self) -> list[str]:
        """Command lines of processes that still work on this folder."""
        lines = []
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            told = " ".join(process.info["cmdline"] or ())
            environment = process.info["environ"] or {}
            ours = str(self.folder) in told or environment.get("VANTAGE_DATA_DIR") == str(
                self.folder
            )
            if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                lines.append(told)
        return lines


def dotted(name: str) -> str:
    """`orchestrator-main-2` as its files have it: `orchestrator.main-2`."""
    return name.replace("-", ".", 1)


def status_of(path: Path, target: str) -> int:
    """The status of a GET over a Unix socket; 0 where nobody answers it."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        try:
            link.connect(str(path))
            link.sendall(
                f"GET {target} HTTP/1.1\r\nHost: house\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while read := link.recv(65_536):
                answer += read
        except OSError:
            return 0
    return int(answer.split(b" ", 2)[1]) if answer else 0
