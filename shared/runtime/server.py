"""Listens: the HTTP port, the metrics port on loopback, the owner's Unix socket; ends in good order on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import uvicorn

from shared.errors import Setup
from shared.metrics import CONTENT_TYPE
from shared.security.guard import LOCAL_OWNER_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from shared.http import Application
    from shared.metrics import Metrics
    from shared.settings import PlatformSettings

GRACE_S = 3  # for requests that are being answered
WHOLE_S = 9.5  # for the whole drain; then the process ends anyway
METRICS_OFFSET = 1000
MAIN = "main"  # what a process is called that was given no name
WS_MESSAGE_LIMIT = 1_000_000  # bytes that a browser may send at once
log = structlog.get_logger(component="server")


@dataclass(frozen=True)
class Listening:
    """Where a server listens."""

    url: str
    port: int
    metrics_port: int
    socket_path: Path


class Sockets:
    """The bound sockets of one server: taken before anything is opened, so that a taken port costs nothing."""

    def __init__(
        self, settings: PlatformSettings, default_port: int, socket_name: str = "api"
    ) -> None:
        check_bind(settings)
        port = default_port if settings.port is None else settings.port
        self.http = bind(settings.host, port, "--port or VANTAGE_PORT")
        chosen = int(self.http.getsockname()[1])
        self.metrics = self._bind_metrics(settings, chosen, free=port == 0)
        self.path = settings.data_dir / "run" / f"{socket_name}.sock"
        scheme = "https" if settings.tls_cert else "http"
        shown = "127.0.0.1" if settings.host in ("", "0.0.0.0", "::") else settings.host  # noqa: S104 - not bound
        self.listening = Listening(
            url=settings.public_url or f"{scheme}://{_bracketed(shown)}:{chosen}",
            port=chosen,
            metrics_port=int(self.metrics.getsockname()[1]),
            socket_path=self.path,
        )

    def bind_unix(self) -> socket.socket:
        """The owner's socket; call it only with the folder's lock held, since it replaces what is there."""
        self.path.unlink(missing_ok=True)
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _masked():
            try:
                unix.bind(str(self.path))
            except OSError as error:
                unix.close()
                raise Setup(
                    f"no socket at {self.path}: {error}. Choose a data folder with a shorter path"
                ) from None
        self.path.chmod(0o600)
        return unix

    def close(self) -> None:
        """Give the ports back."""
        self.http.close()
        self.metrics.close()

    def _bind_metrics(self, settings: PlatformSettings, port: int, *, free: bool) -> socket.socket:
        wanted = settings.metrics_port
        if wanted is None:
            wanted = 0 if free or port + METRICS_OFFSET > 65535 else port + METRICS_OFFSET
        try:
            return bind("127.0.0.1", wanted, "VANTAGE_METRICS_PORT")
        except Setup:
            self.http.close()
            raise


def socket_name(services: Sequence[str], instance: str) -> str:
    """The name of the owner's socket: `api` for a gateway, where commands look first; one for each instance."""
    first = "api" if "gateway" in services else services[0]
    return first if instance == MAIN else f"{first}.{instance}"


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to us. `up` is set once it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing."""
        yield


async def serve(
    app: Application,
    settings: PlatformSettings,
    sockets: Sockets,
    *,
    announce: Callable[[Listening, list[str]], None] | None = None,
) -> None:
    """Run the app until SIGTERM or SIGINT, then drain within ten seconds.

    Raises:
        Setup: the app does not start as it is set up.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.state.listening = sockets.listening
    async with app.router.lifespan_context(app):
        listeners = _listeners(app, settings, sockets)
        tasks = [
            asyncio.create_task(listener.serve(sockets=[bound])) for listener, bound in listeners
        ]
        await asyncio.gather(*(listener.up.wait() for listener, _ in listeners))
        if announce is not None:
            announce(sockets.listening, app.state.notices)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        loop.call_later(WHOLE_S, _give_up)
        log.info("server_stops")
        for listener, _ in listeners:
            listener.should_exit = True
        await asyncio.gather(app.state.runtime.drain(), *tasks)
    sockets.path.unlink(missing_ok=True)


def check_bind(settings: PlatformSettings) -> None:
    """Refuse to be reachable from elsewhere in clear, unless told so.

    Raises:
        Setup: names the two ways out.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise Setup("VANTAGE_TLS_CERT and VANTAGE_TLS_KEY belong together; set both or none")
    if _loopback(settings.host) or settings.tls_cert or settings.insecure_bind:
        return
    raise Setup(
        f"VANTAGE_HOST={settings.host} is reachable from other machines and the connection is not encrypted. "
        "Set VANTAGE_TLS_CERT and VANTAGE_TLS_KEY, or VANTAGE_INSECURE_BIND=1 behind a proxy that does TLS"
    )


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises:
        Setup: the port is taken or may not be used; names the remedy.
    """
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise Setup(f"VANTAGE_HOST={host} is no address of this machine: {error}") from None
    bound = socket.socket(place[0], socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(place[4])
        bound.listen(1024)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            why, remedy = "is taken by another program", "stop it or choose another port"
        else:
            why, remedy = f"cannot be used ({os.strerror(error.errno or 0)})", "choose another"
        raise Setup(
            f"port {port} on {host} {why}; {remedy} with {setting} (0 picks a free one)"
        ) from None
    bound.setblocking(False)
    return bound


def _listeners(
    app: Application, settings: PlatformSettings, sockets: Sockets
) -> list[tuple[Listener, socket.socket]]:
    http = _listener(app, settings, tls=True)
    metrics = _listener(metrics_app(app.metrics), settings, tls=False)
    owner = _listener(local_owner(app), settings, tls=False)
    return [(http, sockets.http), (metrics, sockets.metrics), (owner, sockets.bind_unix())]


def _listener(app: ASGIApp, settings: PlatformSettings, *, tls: bool) -> Listener:
    encrypted = tls and settings.tls_cert is not None and settings.tls_key is not None
    config = uvicorn.Config(
        app,
        lifespan="off",
        http="h11",
        ws="websockets-sansio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=WS_MESSAGE_LIMIT,
        ssl_certfile=settings.tls_cert if encrypted else None,
        ssl_keyfile=str(settings.tls_key) if encrypted else None,
    )
    try:
        config.load()
    except OSError as error:
        raise Setup(f"VANTAGE_TLS_CERT or VANTAGE_TLS_KEY cannot be used: {error}") from None
    return Listener(config)


def local_owner(app: ASGIApp) -> ASGIApp:
    """The app as the owner-only socket serves it: whoever can open the socket owns the data already."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, LOCAL_OWNER_KEY: True}, receive, send)

    return served


def metrics_app(metrics: Metrics) -> ASGIApp:
    """`/metrics` and nothing else."""

    async def served(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD")
        body = metrics.exposition() if found else b"see /metrics\n"
        headers = [(b"content-type", CONTENT_TYPE.encode())]
        await send(
            {"type": "http.response.start", "status": 200 if found else 404, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})

    return served


def _give_up() -> None:
    log.error("drain_too_slow", seconds=WHOLE_S)
    os._exit(0)


@contextlib.contextmanager
def _masked() -> Iterator[None]:
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
