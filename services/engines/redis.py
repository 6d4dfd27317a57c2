"""Redis: what it holds is on disk within a second."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

from shared.security.keys import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.engines.places import Place

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {data}
save ""
appendonly yes
appendfsync everysec
maxmemory 256mb
maxmemory-policy volatile-lru
"""


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
        place.data.mkdir(exist_ok=True)
        text = CONFIGURATION.format(port=place.port, password=place.password(), data=place.data)
        write_private(place.folder / "redis.conf", text.encode())

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return ["redis-server", str(place.folder / "redis.conf")]

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"redis://:{place.password()}@127.0.0.1:{place.port}"
