"""Passes calls on to services in other processes, HTTP and WebSocket, as they came: each service checks them again."""

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
from shared.errors import Forbidden, NotFound, Unavailable
from shared.security.doors import Door, refusing
from shared.security.guard import LOCAL_OWNER_KEY
from shared.security.principal import Principal
from shared.telemetry import correlation_id, traceparent

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

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
GONE = 1011


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
        if found.way.scope is not None and not principal.may(found.way.scope):
            raise Forbidden(f"this needs the scope {found.way.scope}")
        scope["vantage.match"] = found
        return principal

    def _absent(self, path: str) -> Exception:
        methods = [one for one in self._table.methods(path) if one != "WEBSOCKET"]
        if methods:
            return HTTPException(405, "Method Not Allowed", {"Allow": ", ".join(methods)})
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
        return await forwarded(client, request, request.scope["vantage.match"], headers)

    @router.websocket("/{path:path}")
    async def tunnel(
        socket: WebSocket, _: Annotated[Principal, Depends(SocketProxyDoor(table))]
    ) -> None:
        await tunnelled(socket, socket.scope["vantage.match"])

    return router


async def forwarded(
    client: httpx.AsyncClient, request: Request, match: Match, headers: dict[str, str]
) -> Response:
    """The answer of the process that serves this, streamed through.

    Raises:
        Unavailable: it does not answer.
    """
    outgoing = client.build_request(
        request.method,
        f"{match.upstream}{_target(request)}",
        headers=headers,
        content=request.stream() if _has_body(request) else None,
    )
    try:
        answer = await client.send(outgoing, stream=True)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"the service behind {match.way.path} does not answer ({type(error).__name__})"
        ) from None
    response = StreamingResponse(
        _body(answer), answer.status_code, background=BackgroundTask(answer.aclose)
    )
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.decode("latin-1").lower() not in HOP
    ]
    return response


async def tunnelled(socket: WebSocket, match: Match) -> None:
    """Carry messages both ways until one side closes; the other gets its code and reason."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidHandshake
    from websockets.typing import Origin

    upstream = urlsplit(match.upstream)
    secure = upstream.scheme == "https"
    # The service compares Host and Origin, so it must see the name that the browser used.
    address = (
        f"{'wss' if secure else 'ws'}://{socket.headers.get('host', 'gateway')}{_target(socket)}"
    )
    headers = _headers(socket)
    place: dict[str, Any] = {
        "host": upstream.hostname,
        "port": upstream.port or (443 if secure else 80),
    }
    if secure:
        place["server_hostname"] = upstream.hostname
    try:
        async with connect(
            address,
            origin=Origin(headers["origin"]) if "origin" in headers else None,
            additional_headers={n: headers[n] for n in PASSED if n in headers},
            proxy=None,
            compression=None,
            max_size=None,
            **place,
        ) as service:
            await socket.accept()
            await _carry(socket, service)
    except (OSError, TimeoutError, InvalidHandshake):
        await socket.close(GONE, "the service does not answer")


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
        with suppress(RuntimeError):  # the browser has gone first
            await socket.close(service.close_code, service.close_reason or "")


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
    return "content-length" in request.headers or "transfer-encoding" in request.headers
