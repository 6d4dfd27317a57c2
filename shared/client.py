"""How commands speak the HTTP API: to the running server by its owner-only socket, else by serving one call themselves.

VANTAGE_URL with VANTAGE_TOKEN, where set, goes before both: it names a server elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from shared.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Setup,
    TooMany,
    Unauthenticated,
    Unavailable,
    VantageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import typer
    from starlette.types import ASGIApp

    from shared.http import Application
    from shared.settings import PlatformSettings

TIMEOUT_S = 60.0
_KINDS: dict[int, type[VantageError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: TooMany,
    503: Unavailable,
}


class Api:
    """Blocking calls of the HTTP API. Problems come out as the errors of `shared.errors`."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - JSON
        """GET; None values are left out of the query."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """POST a JSON body."""
        return self._call("POST", path, {}, body)

    def put(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """PUT a JSON body."""
        return self._call("PUT", path, {}, body)

    def patch(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """PATCH a JSON body."""
        return self._call("PATCH", path, {}, body)

    def delete(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """DELETE."""
        return self._call("DELETE", path, {}, None)

    def _call(self, method: str, path: str, query: dict[str, object], body: object) -> Any:  # noqa: ANN401 - JSON
        given = {name: str(value) for name, value in query.items() if value is not None}
        _check_sendable(body)
        try:
            answer = self._runner.run(
                self._client.request(method, path, params=given or None, json=body)
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the server does not answer ({type(error).__name__}); is it still running?"
            ) from None
        return parsed(answer)


class Connector:
    """Finds the server for a command. `serve` makes an app of the named services for a call without a server."""

    def __init__(
        self, settings: PlatformSettings, serve: Callable[[Sequence[str]], Application]
    ) -> None:
        self._settings = settings
        self._serve = serve

    @contextmanager
    def api(self, *owners: str) -> Iterator[Api]:
        """The API; without a server `owners` are started in this process for the time of this block.

        Raises:
            Setup: the data folder is another server's, or a service cannot be opened.
        """
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                client = runner.run(self._connect(stack, owners))
                yield Api(runner, client)
            finally:
                runner.run(stack.aclose())

    @contextmanager
    def processes(self, *owners: str) -> Iterator[list[Api]]:
        """The API of each process that serves on this data folder, one after the other.

        Where VANTAGE_URL names one, it alone; where none serves, `owners` are started as by `api`.

        Raises:
            Setup: see `api`.
        """
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                sockets = (
                    () if self._settings.url else (self._settings.data_dir / "run").glob("*.sock")
                )
                serving = [path for path in sorted(sockets) if listens(path)]
                if serving:
                    made = [runner.run(stack.enter_async_context(_over(path))) for path in serving]
                else:
                    made = [runner.run(self._connect(stack, owners))]
                yield [Api(runner, client) for client in made]
            finally:
                runner.run(stack.aclose())

    async def _connect(self, stack: AsyncExitStack, owners: Sequence[str]) -> httpx.AsyncClient:
        settings = self._settings
        if settings.url is not None:
            return await stack.enter_async_context(_remote(settings))
        path = door(settings.data_dir / "run")
        if path is not None:
            return await stack.enter_async_context(_over(path))
        app = await self._started(stack, owners)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return await stack.enter_async_context(_local(transport))

    async def _started(self, stack: AsyncExitStack, owners: Sequence[str]) -> ASGIApp:
        from shared.platform import embedded
        from shared.runtime.lock import lock_folder
        from shared.runtime.server import local_owner

        settings = self._settings
        alone, instance = embedded(settings), settings.instance
        stack.enter_context(lock_folder(settings.data_dir, owners, alone=alone, instance=instance))
        app = self._serve(owners)
        await stack.enter_async_context(app.router.lifespan_context(app))
        return local_owner(app)


def _check_sendable(body: object) -> None:
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise Invalid(
            f"this cannot be sent: {error}; give finite numbers and whole characters"
        ) from None


def connect(ctx: typer.Context, *owners: str) -> Any:  # noqa: ANN401 - a context manager of Api
    """`with connect(ctx, "vms") as api:` in a command: the API of the running server, or of these services alone."""
    return connector_of(ctx).api(*owners)


def connector_of(ctx: typer.Context) -> Connector:
    """How this command reaches the API.

    Raises:
        Setup: it does not run below `vantage`.
    """
    connector = ctx.find_root().obj
    if not isinstance(connector, Connector):
        raise Setup("this command runs below `vantage`")
    return connector


def _over(path: Path) -> httpx.AsyncClient:
    """A client of the server behind an owner's socket."""
    return _local(httpx.AsyncHTTPTransport(uds=str(path)))


def _local(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport, base_url="http://vantage", timeout=TIMEOUT_S, trust_env=False
    )


def door(folder: Path) -> Path | None:
    """The owner's socket of a gateway that runs: `api.sock`, or that of an instance with another name."""
    sockets = [folder / "api.sock", *sorted(folder.glob("api.*.sock"))]
    return next((path for path in sockets if listens(path)), None)


def listens(path: Path) -> bool:
    """Whether a server listens on this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def parsed(answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """The JSON of an answer, its text where it is something else, None where it is empty.

    Raises:
        VantageError: it is a problem; the class follows from the status.
    """
    kind = answer.headers.get("content-type", "")
    body = answer.json() if "json" in kind and answer.content else answer.text or None
    if answer.is_success:
        return body
    detail = body.get("detail") if isinstance(body, dict) else None
    text = str(detail or f"the server answered {answer.status_code}")
    raise _KINDS.get(answer.status_code, VantageError)(text)


def _remote(settings: PlatformSettings) -> httpx.AsyncClient:
    token = settings.token.get_secret_value() if settings.token else None
    return httpx.AsyncClient(
        base_url=settings.url or "",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=TIMEOUT_S,
    )
