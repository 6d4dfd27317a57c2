"""A real Redis: one process, loopback, a random port.

Every write is in the system's hands before it is answered, so it outlives kill -9; a slow disk delays nobody.
"""

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from services.engines import redis
from services.engines.places import Place
from services.engines.redis import Redis
from tests.engines.certificates import Certificates
from tests.engines.require import require_engine
from tests.engines.server import EngineServer


class RedisServer(EngineServer):
    """One server. Port and URL stay the same over kill and start.

    Args:
        folder: its data.
        password: demanded of the user `default`.
        tls: speak TLS alone and demand a client certificate.
        options: more of redis-server's own, e.g. `["--maxmemory", "2mb"]`.
    """

    name = Redis.name
    ready = Redis.ready
    ends_by = Redis.ends_by

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        tls: Certificates | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self.tls = tls
        login = f":{password}@" if password else ""
        self.url = f"{'rediss' if tls else 'redis'}://{login}127.0.0.1:{self.port}"
        self._options = options
        self._place = Place(folder, self.port)
        settings = redis.settings(self._place, fsync="no", password=password)
        redis.write_configuration(self._place, settings | self._tls_settings())

    def order(self, command: str) -> None:
        """Give an operator's command whose answer is OK."""
        answer = self._say(f"{command}\r\n".encode())
        if answer != b"+OK":
            raise RuntimeError(f"{command}: {answer!r}")

    def forget(self) -> None:
        """Drop everything."""
        self.order("FLUSHALL")

    def save(self) -> None:
        """Write a snapshot."""
        self.order("SAVE")

    def connections(self) -> int:
        """How many clients are connected, this question's own among them."""
        with self._connected() as link:
            link.sendall(b"CLIENT LIST\r\n")
            header, _, text = link.recv(1 << 20).partition(b"\r\n")
            while len(text) < int(header[1:]):
                text += link.recv(1 << 20)
        return text.count(b" addr=")

    def _command(self) -> list[str]:
        return [*Redis().command(self._place), *self._options]

    def _tls_settings(self) -> dict[str, str]:
        if self.tls is None:
            return {}
        return {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(self.tls.server.cert),
            "tls-key-file": str(self.tls.server.key),
            "tls-ca-cert-file": str(self.tls.ca),
        }

    def _say(self, command: bytes) -> bytes:
        with self._connected() as link:
            link.sendall(command)
            return link.recv(4096).strip()

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        if self.tls is None:
            return plain
        context = ssl.create_default_context(cafile=self.tls.ca)
        context.load_cert_chain(self.tls.client.cert, self.tls.client.key)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


def make_redis(folder: Path, **how: object) -> RedisServer:
    """A started server, or the skip (or failure) that says that it is missing."""
    require_engine(Redis().missing())
    server = RedisServer(folder, **how)  # type: ignore[arg-type]  # RedisServer's own, by name
    server.start()
    return server
