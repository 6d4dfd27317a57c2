"""A real Redis: one process, loopback, a random port.

Every write is in the system's hands before it is answered, so it outlives kill -9; a slow disk delays nobody.
"""

import shutil
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines import processes
from tests.engines.certificates import Certificates
from tests.engines.require import missing_engine

if TYPE_CHECKING:
    import subprocess


class RedisServer:
    """One server. Port and URL stay the same over kill and start.

    Args:
        folder: its data.
        password: demanded of the user `default`.
        tls: speak TLS alone and demand a client certificate.
        options: more of redis-server's own, e.g. `["--maxmemory", "2mb"]`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        tls: Certificates | None = None,
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "redis.log"
        self.port = processes.free_port()
        self.tls = tls
        login = f":{password}@" if password else ""
        self.url = f"{'rediss' if tls else 'redis'}://{login}127.0.0.1:{self.port}"
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start on the data that is there and return when it answers."""
        self._process = processes.spawn(self._command(), log=self.log)
        processes.wait_until(self._answers, seconds=30, process=self._process, log=self.log)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open and nothing answers."""
        processes.freeze(self._running())

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        processes.thaw(self._running())

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

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("Redis is not running")
        return self._process

    def _command(self) -> list[str]:
        port = ["--port", str(self.port)]
        if self.tls is not None:
            server = self.tls.server
            port = [
                "--port",
                "0",
                "--tls-port",
                str(self.port),
                "--tls-cert-file",
                str(server.cert),
            ]
            port += ["--tls-key-file", str(server.key), "--tls-ca-cert-file", str(self.tls.ca)]
        kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        place = ["--bind", "127.0.0.1", "--dir", str(self.folder)]
        return ["redis-server", *port, *place, *kept, *self._options]

    def _answers(self) -> bool:
        try:
            return self._say(b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

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
    if not here():
        missing_engine("Redis is not installed")
    server = RedisServer(folder, **how)  # type: ignore[arg-type]  # RedisServer's own, by name
    server.start()
    return server


def here() -> bool:
    """Whether this machine has Redis."""
    return shutil.which("redis-server") is not None
