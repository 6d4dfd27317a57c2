"""The doors: who passes, who does not, and that no route stands open by mistake."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends

from shared.clock import SystemClock
from shared.errors import Setup
from shared.http import Application
from shared.runtime.routes import walk
from shared.security.doors import public, require
from shared.security.guard import ACCESS_COOKIE, CSRF_COOKIE, CSRF_HEADER, csrf_digest
from shared.security.keys import SigningKeys
from shared.security.scopes import ROLES, SCOPES
from shared.security.tokens import Grant, Issuer
from shared.service import Running
from tests.unit.platform import toys

BODY = {"name": "x"}


def token(tmp_path: Path, **values: Any) -> str:
    grant = {"subject": "u1", "kind": "user", "name": "ann", "scopes": ROLES["admin"], **values}
    keys = SigningKeys.open(tmp_path / "data" / "keys")
    return Issuer(keys, SystemClock()).issue(Grant(**grant))


def bearer(tmp_path: Path, **values: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {token(tmp_path, **values)}"}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    app = toys.app_of(tmp_path)
    async with toys.lifespan(app):
        yield app


@pytest.fixture
async def client(app: Application) -> AsyncIterator[httpx.AsyncClient]:
    async with toys.caller(app) as client:
        yield client


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", "Token abc", "Bearer a b c"],
)
async def test_without_a_valid_token_nobody_passes(
    client: httpx.AsyncClient, header: str | None
) -> None:
    headers = {} if header is None else {"authorization": header}
    answer = await client.get("/toy/read", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_scope_opens_its_doors_and_no_others(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    headers = bearer(tmp_path, scopes=frozenset({"cameras:read"}))
    assert (await client.get("/toy/read", headers=headers)).status_code == 200
    refused = await client.post("/toy/write", json=BODY, headers=headers)
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


async def test_a_token_in_the_url_is_no_token(client: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await client.get("/toy/read", params={"access_token": token(tmp_path)})
    assert answer.status_code == 401


async def test_a_revoked_session_is_refused_at_once(app: Application, tmp_path: Path) -> None:
    seen: list[Any] = []
    made = toys.app_of(tmp_path / "other", toys.service(seen=seen))
    async with toys.lifespan(made), toys.caller(made) as client:
        headers = bearer(tmp_path / "other", session="s1")
        assert (await client.get("/toy/read", headers=headers)).status_code == 200
        await seen[0].revocations.revoke("s1")
        assert (await client.get("/toy/read", headers=headers)).status_code == 401


def cookies(tmp_path: Path, csrf: str = "value") -> dict[str, str]:
    return {
        ACCESS_COOKIE: token(tmp_path, csrf=csrf_digest("value"), session="s1"),
        CSRF_COOKIE: csrf,
    }


@pytest.mark.parametrize(
    ("csrf", "headers", "status"),
    [
        ("value", {CSRF_HEADER: "value"}, 201),
        ("value", {CSRF_HEADER: "value", "origin": "http://vantage.test"}, 201),
        ("value", {}, 403),
        ("value", {CSRF_HEADER: "other"}, 403),
        ("planted", {CSRF_HEADER: "planted"}, 403),  # a cookie planted from a sister domain
        ("", {CSRF_HEADER: ""}, 403),
        ("value", {CSRF_HEADER: "value", "origin": "http://evil.test"}, 403),
        ("value", {CSRF_HEADER: "value", "origin": "null"}, 403),
    ],
)
async def test_a_browsers_unsafe_call_proves_that_our_page_made_it(
    app: Application, tmp_path: Path, csrf: str, headers: dict[str, str], status: int
) -> None:
    async with toys.caller(app, cookies=cookies(tmp_path, csrf)) as browser:
        assert (await browser.get("/toy/read")).status_code == 200
        answer = await browser.post("/toy/write", json=BODY, headers=headers)
    assert answer.status_code == status


async def test_programs_need_no_csrf_value(client: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await client.post("/toy/write", json=BODY, headers=bearer(tmp_path))
    assert answer.status_code == 201


async def test_the_owners_socket_is_the_admin(app: Application) -> None:
    async with toys.caller(app, owner=True) as client:
        answer = await client.post("/toy/write", json=BODY)
    assert (answer.status_code, answer.json()["by"]) == (201, "owner")


async def test_no_header_makes_a_caller_the_owner(client: httpx.AsyncClient) -> None:
    answer = await client.get("/toy/read", headers={"vantage.local_owner": "1"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        ({"origin": "http://vantage.test"}, True),
        ({"origin": "http://evil.test"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
async def test_a_websocket_opens_for_our_own_page_alone(
    app: Application, tmp_path: Path, headers: dict[str, str], opens: bool
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in cookies(tmp_path).items())
    assert await toys.handshake(app, "/toy/live", {**headers, "cookie": cookie}) is opens


async def test_a_program_opens_a_websocket_with_its_token(app: Application, tmp_path: Path) -> None:
    assert await toys.handshake(app, "/toy/live", bearer(tmp_path))
    assert not await toys.handshake(app, "/toy/live", {})
    reader = bearer(tmp_path, scopes=frozenset({"cameras:read"}))
    assert not await toys.handshake(app, "/toy/live", reader)


async def test_every_way_in_is_listed_with_its_door(app: Application) -> None:
    found = {(entry.method, entry.path): entry for entry in walk(app.routes)}
    assert found["GET", "/toy"].public
    assert found["POST", "/toy/write"].scope == "cameras:write"
    assert found["WEBSOCKET", "/toy/live"].scope == "media:read"
    assert found["GET", "/toy/who"].scope is None
    assert not found["GET", "/toy/who"].public


def open_route() -> APIRouter:
    router = APIRouter()

    @router.get("/open")
    async def nobody_thought() -> None: ...

    return router


def doubled_route() -> APIRouter:
    router = APIRouter(dependencies=[Depends(public)])
    for name in ("x", "y"):
        router.add_api_route(f"/twice/{{{name}}}", public)
    return router


@pytest.mark.parametrize(
    ("router", "said"), [(open_route(), "/open has no door"), (doubled_route(), "served twice")]
)
async def test_the_runtime_does_not_start_with_an_open_or_doubled_way_in(
    tmp_path: Path, router: APIRouter, said: str
) -> None:
    app = toys.app_of(tmp_path, toys.service(Running(router=router)))
    with pytest.raises(Setup, match=said):
        async with toys.lifespan(app):
            pass


def test_a_door_of_an_unknown_scope_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="unknown scope"):
        require("cameras:everything")


def test_roles_hold_known_scopes_alone() -> None:
    assert all(scopes <= SCOPES for scopes in ROLES.values())
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["admin"]
