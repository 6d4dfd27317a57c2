"""Every way in of every service: one door each, none without, none twice, and the doors hold."""

from pathlib import Path
from urllib.parse import quote

import httpx
from starlette.websockets import WebSocketDisconnect

from shared.clock import SystemClock
from shared.http import Application
from shared.runtime.routes import Entry, walk
from shared.security.keys import SigningKeys
from shared.security.scopes import SCOPES
from shared.security.tokens import Grant, Issuer
from tests.house.conftest import House

# Reviewed by hand: what anybody may ask. A new entry needs a reason.
PUBLIC = {
    ("GET", "/health"),  # says how the process is, no content
    ("GET", "/ready"),
    ("GET", "/login"),  # the way to become somebody
    ("POST", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions/refresh"),  # proves itself by the refresh cookie
    ("GET", "/console/{name}"),  # the console's scripts and styles
    ("POST", "/oauth2/token"),
    ("GET", "/.well-known/jwks.json"),  # public keys
}


def bearer(folder: Path, scopes: frozenset[str]) -> dict[str, str]:
    grant = Grant(subject="somebody", kind="client", name="somebody", scopes=scopes)
    token = Issuer(SigningKeys.open(folder / "keys"), SystemClock()).issue(grant)
    return {"authorization": f"Bearer {token}"}


def asked(entry: Entry) -> str:
    """The path with something in the place of each parameter."""
    return "/".join(quote("x") if p.startswith("{") else p for p in entry.path.split("/"))


async def answers(app: Application, headers: dict[str, str], *entries: Entry) -> dict[Entry, int]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as http:
        return {e: (await http.request(e.method, asked(e))).status_code for e in entries}


async def test_the_public_ways_in_are_those_that_were_reviewed(house: House) -> None:
    public = {(entry.method, entry.path) for entry in walk(house.app.routes) if entry.public}
    assert public - PUBLIC == {entry for entry in public if entry[1].startswith("/static/")}
    assert public >= PUBLIC


async def test_an_unknown_caller_comes_in_nowhere(house: House) -> None:
    shut = [e for e in walk(house.app.routes) if not e.public and e.method != "WEBSOCKET"]
    assert len(shut) > 20
    found = await answers(house.app, {}, *shut)
    assert {entry: status for entry, status in found.items() if status != 401} == {}


async def test_a_caller_without_the_scope_is_refused_everywhere(
    house: House,
) -> None:
    for scope in sorted({e.scope for e in walk(house.app.routes) if e.scope}):
        entries = [
            e for e in walk(house.app.routes) if e.scope == scope and e.method != "WEBSOCKET"
        ]
        found = await answers(house.app, bearer(house.folder, SCOPES - {scope}), *entries)
        assert {entry: status for entry, status in found.items() if status != 403} == {}, scope


async def test_a_websocket_opens_for_nobody_unknown(house: House) -> None:
    doors = [e for e in walk(house.app.routes) if e.method == "WEBSOCKET"]
    assert doors
    for entry in doors:
        assert await handshake(house.app, asked(entry)) in {
            "websocket.close",
            "websocket.http.response.start",
        }


async def handshake(app: Application, path: str) -> str:
    """What the app answers first to a WebSocket's opening."""
    said: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        said.append(str(dict(message)["type"]))  # type: ignore[call-overload]  # ASGI messages are dicts

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b""}
    more = {"headers": [], "subprotocols": [], "scheme": "ws", "app": app, "root_path": ""}
    try:
        await app({**scope, **more}, receive, send)
    except WebSocketDisconnect:
        return "websocket.close"
    return said[0]
