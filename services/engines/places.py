"""Where an engine lives: its programs on this machine, its data and its port in a data folder."""

from __future__ import annotations

import functools
import itertools
import os
import random
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from shared.errors import Setup
from shared.security.keys import private_folder, read_private, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS = range(20_000, 30_000)  # below those of clients: Linux from 32,768, others from 49,152
DYING_S = 6.0  # PostgreSQL gives its backends five seconds


class Life(msgspec.Struct, frozen=True):
    """The process that last ran an engine. `born` tells it from another one that got its number later."""

    pid: int
    born: float
    port: int


@dataclass(frozen=True)
class Place:
    """The folder of one engine, and the loopback port that it listens on in this run."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """What the engine keeps."""
        return self.folder / "data"

    def password(self) -> str:
        """The password of this engine's one user, made once."""
        path = self.folder / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24).encode())
        return read_private(path).decode()

    def remember(self, pid: int) -> None:
        """Write down who runs it."""
        life = Life(pid, psutil.Process(pid).create_time(), self.port)
        write_private(self.folder / "life.json", msgspec.json.encode(life))


def open_place(folder: Path, *, dying_s: float = DYING_S) -> tuple[Place, bool]:
    """The place of an engine, and whether it runs there already. Blocks while an engine is ending there.

    It keeps its port from run to run while nobody else has taken it.
    """
    private_folder(folder)
    life = _life(folder)
    if life is None:
        return Place(folder, free_port()), False
    until = time.monotonic() + dying_s
    while _runs(life):  # its house was killed, and it ends with it; or somebody keeps it running
        if time.monotonic() >= until:
            return Place(folder, life.port), True
        time.sleep(0.1)
    return Place(folder, life.port if _free(life.port) else free_port()), False


def programs() -> Path:
    """The cache of engines that were fetched, shared by all checkouts of this user."""
    chosen = os.environ.get("VANTAGE_ENGINES_DIR")
    return Path(chosen) if chosen else Path.home() / ".cache" / "vantage" / "engines"


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago.

    The kernel gives none of `PORTS` to a client, as it does with one that it hands out itself: whoever takes seconds to
    listen on that, or is away and comes back to it, may find a connection of somebody else on it.
    """
    for port in itertools.islice(_order(), len(PORTS)):
        if _free(port):
            return port
    raise Setup(f"none of the ports {PORTS[0]} to {PORTS[-1]} of 127.0.0.1 is free")


@functools.cache
def _order() -> Iterator[int]:
    """All ports, in an order of this process alone: it gives none twice, and hardly one that another gives."""
    return itertools.cycle(random.SystemRandom().sample(PORTS, len(PORTS)))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _life(folder: Path) -> Life | None:
    try:
        return msgspec.json.decode((folder / "life.json").read_bytes(), type=Life)
    except (OSError, msgspec.DecodeError):
        return None


def _runs(life: Life) -> bool:
    try:
        process = psutil.Process(life.pid)
        same = abs(process.create_time() - life.born) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
