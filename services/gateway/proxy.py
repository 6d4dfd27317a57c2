"""Passes calls on to services in other processes, HTTP and WebSocket, as they came: each service checks them again.

A call goes to one process of those that serve it. Where that one cannot be reached, nothing was sent and the next is
tried; where it fell silent after it was asked, only a call that changes nothing is asked again of the next.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Depends, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from services.gateway.table import Match, Table
from shared.errors import NotFound, Unavailable
from shared.security.doors import Door, refusing
from shared.security.guard import LOCAL_OWNER_KEY
from shared.security.principal import Principal
from shared.telemetry import correlation_id, traceparent

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection, connect

    from shared.security.guard import Guard

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# Between two hops only (RFC 9110 section 7.6.1), or made anew on each.
HOP = frozenset(
    {
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "traceparent",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)
PASSED = ("cookie", "authorization", "traceparent", "x-request-id")  # of a WebSocket's handshake
NOBODY = Principal(subject="", kind="client", name="", scopes=frozenset())
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
GONE = 1011
UNSPOKEN = frozenset(
    {1005, 1006, 1015}
)  # RFC 6455 section 7.4.1: never sent, they tell how a socket ended
BUSY = 503
AGAIN_S = 2  # a process that was killed is back, or its partitions are with another, soon
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
PATIENCE = httpx.Timeout(60.0, connect=2.0)


class ProxyDoor(Door):
    """The door of whatever way the table finds: what is public there passes, all else needs its scope."""

    def __init__(self, table: Table) -> None:
        super().__init__(None)
        self._table = table

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Who calls, somebody unknown included where the way is public."""
        scope = connection.scope
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        found = self._table.match(method, scope["path"])
        guard: Guard = connection.app.state.guard
        if found is not None and found.way.public:
            scope["vantage.match"] = found
            return NOBODY
        principal = await guard.principal(connection)
        if found is None:
            raise self._absent(scope["path"])
        await guard.check_scope(connection, principal, found.way.scope, found.way.path)
        scope["vantage.match"] = found
        return principal

    def _absent(self, path: str) -> Exception:
        methods = [one for one in self._table.methods(path) if one != "WEBSOCKET"]
        if methods:
            return HTTPException(405, "Method Not Allowed", {"Allow": ", ".join(methods)})
        if not self._table.complete:
            return Unavailable("not every service has answered yet", retry_after=AGAIN_S)
        return NotFound(f"there is nothing at {path}")


class SocketProxyDoor(ProxyDoor):
    """The same for WebSockets."""

    async def __call__(self, connection: WebSocket) -> Principal:  # type: ignore[override]  # FastAPI hands a route what it is
        """Who calls; else the handshake is refused."""
        return await refusing(super().__call__(connection))


def make_proxy_router(
    table: Table, client: httpx.AsyncClient, owner_token: Callable[[], str]
) -> APIRouter:
    """Asked last: what no service of this process serves. The local owner, who needs none here, gets a token."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/{path:path}", methods=METHODS, dependencies=[Depends(ProxyDoor(table))])
    async def forward(request: Request) -> Response:
        headers = _headers(request)
        if request.scope.get(LOCAL_OWNER_KEY):
            headers["authorization"] = f"Bearer {owner_token()}"
        answer = await asked(table, client, request, headers)
        return _streamed(answer)

    @router.websocket("/{path:path}")
    async def tunnel(
        socket: WebSocket, _: Annotated[Principal, Depends(SocketProxyDoor(table))]
    ) -> None:
        await tunnelled(table, socket)

    return router


def make_client() -> httpx.AsyncClient:
    """The client for calls that are passed on."""
    return httpx.AsyncClient(timeout=PATIENCE, limits=LIMITS, trust_env=False)


async def asked(
    table: Table, client: httpx.AsyncClient, request: Request, headers: dict[str, str]
) -> httpx.Response:
    """The answer of a process that serves this, its body still to come.

    Raises:
        Unavailable: none answers.
    """
    match: Match = request.scope["vantage.match"]
    body = _has_body(request)
    repeatable = request.method in ("GET", "HEAD") and not body
    for upstream in table.turn(match):
        outgoing = client.build_request(
            request.method,
            f"{upstream}{_target(request)}",
            headers=headers,
            content=request.stream() if body else None,
        )
        try:
            return await client.send(outgoing, stream=True)
        except UNSENT as error:
            table.failed(upstream, error)
        except httpx.PoolTimeout:
            break  # we are the busy one
        except httpx.HTTPError as error:
            table.failed(upstream, error)
            if not repeatable:
                break
    raise Unavailable(f"the service behind {match.way.path} does not answer", retry_after=AGAIN_S)


def _streamed(answer: httpx.Response) -> Response:
    response = StreamingResponse(
        _body(answer), answer.status_code, background=BackgroundTask(answer.aclose)
    )
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.decode("latin-1").lower() not in HOP
    ]
    return response


async def tunnelled(table: Table, socket: WebSocket) -> None:
    """Carry messages both ways until one side closes; the other gets its code and reason."""
    from websockets.exceptions import InvalidHandshake, InvalidStatus

    for upstream in table.turn(socket.scope["vantage.match"]):
        try:
            async with _connected(socket, upstream) as service:
                await socket.accept()
                await _carry(socket, service)
                return
        except InvalidStatus as refusal:
            if refusal.response.status_code != BUSY:
                break
        except (OSError, TimeoutError, InvalidHandshake) as error:
            table.failed(upstream, error)
    await socket.close(GONE, "the service does not answer")


def _connected(socket: WebSocket, upstream: str) -> "connect":
    from websockets.asyncio.client import connect
    from websockets.typing import Origin

    place = urlsplit(upstream)
    secure = place.scheme == "https"
    headers = _headers(socket)
    # The service compares Host and Origin, so it must see the name that the browser used.
    named = socket.headers.get("host", "gateway")
    more: dict[str, Any] = {"server_hostname": place.hostname} if secure else {}
    return connect(
        f"{'wss' if secure else 'ws'}://{named}{_target(socket)}",
        origin=Origin(headers["origin"]) if "origin" in headers else None,
        additional_headers={name: headers[name] for name in PASSED if name in headers},
        open_timeout=PATIENCE.connect,
        proxy=None,
        compression=None,
        max_size=None,
        host=place.hostname,
        port=place.port or (443 if secure else 80),
        **more,
    )


async def _carry(socket: WebSocket, service: "ClientConnection") -> None:
    directions = [
        asyncio.create_task(_outward(socket, service)),
        asyncio.create_task(_inward(socket, service)),
    ]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
    if service.close_code is not None:
        code = GONE if service.close_code in UNSPOKEN else service.close_code
        with suppress(RuntimeError):  # the browser has gone first
            await socket.close(code, service.close_reason or "")


async def _outward(socket: WebSocket, service: "ClientConnection") -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        await service.send(message["bytes"] if text is None else text)


async def _inward(socket: WebSocket, service: "ClientConnection") -> None:
    async for message in service:
        if isinstance(message, str):
            await socket.send_text(message)
        else:
            await socket.send_bytes(message)


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in answer.aiter_raw():
        yield chunk


def _target(connection: HTTPConnection) -> str:
    """Path and query exactly as they came: the service decodes what we decoded."""
    raw: bytes = connection.scope.get("raw_path") or connection.scope["path"].encode()
    query: bytes = connection.scope["query_string"]
    return raw.partition(b"?")[0].decode("ascii") + (f"?{query.decode('latin-1')}" if query else "")


def _headers(connection: HTTPConnection) -> dict[str, str]:
    kept = {name: value for name, value in connection.headers.items() if name.lower() not in HOP}
    for name, value in (("traceparent", traceparent()), ("x-request-id", correlation_id())):
        if value is not None:
            kept[name] = value
    return kept


def _has_body(request: Request) -> bool:
    sized = request.headers.get("content-length", "0") != "0"
    return sized or "transfer-encoding" in request.headers
