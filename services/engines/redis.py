"""Redis: what it holds is on disk within a second."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

from shared.security.keys import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from services.engines.places import Place

MEMORY = {"maxmemory": "256mb", "maxmemory-policy": "volatile-lru"}


class Redis:
    """See `Engine`."""

    name = "redis"
    setting = "cache_url"
    ready = b"Ready to accept connections"
    ends_by = signal.SIGTERM
    dies_by = signal.SIGKILL

    def missing(self) -> str:
        """See `Engine.missing`."""
        if shutil.which("redis-server") is None:
            return "Redis is not installed: apt-get install redis-server, or `make engines`"
        return ""

    def prepare(self, place: Place) -> None:
        """See `Engine.prepare`."""
        durable = settings(place, fsync="everysec", password=place.password())
        write_configuration(place, durable | MEMORY)

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return ["redis-server", str(_file(place))]

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"redis://:{place.password()}@127.0.0.1:{place.port}"


def settings(place: Place, *, fsync: str, password: str | None = None) -> dict[str, str]:
    """The settings of a server at `place` that logs every write.

    Args:
        place: where it keeps its data, and its port.
        fsync: when a write is on disk: `everysec`, `always`, or `no` for when the system likes.
        password: demanded of every client; None: of nobody.
    """
    login = {} if password is None else {"requirepass": password}
    return login | {
        "bind": "127.0.0.1",
        "port": str(place.port),
        "dir": f'"{place.data}"',
        "save": '""',
        "appendonly": "yes",
        "appendfsync": fsync,
    }


def write_configuration(place: Place, found: Mapping[str, str]) -> None:
    """Write a server's settings to where its command reads them, and make the folder of its data."""
    place.data.mkdir(exist_ok=True)
    lines = "".join(f"{name} {value}\n" for name, value in found.items())
    write_private(_file(place), lines.encode())


def _file(place: Place) -> Path:
    return place.folder / "redis.conf"
