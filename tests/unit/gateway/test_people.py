"""People and programs: roles and scopes are taken at once, and somebody can always administer."""

import base64
from typing import Any

import httpx
import pytest

from shared.security.scopes import ROLES
from tests.unit.gateway.conftest import PASSWORD, Door, csrf

TOKEN = "/oauth2/token"


async def add(owner: httpx.AsyncClient, name: str, role: str = "viewer") -> dict[str, Any]:
    body = {"name": name, "role": role, "password": PASSWORD}
    answer = await owner.post("/api/v1/users", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def program(owner: httpx.AsyncClient, *scopes: str) -> dict[str, str]:
    body = {"name": "exporter", "scopes": list(scopes)}
    made = (await owner.post("/api/v1/clients", json=body)).json()
    return {
        "grant_type": "client_credentials",
        "client_id": made["client_id"],
        "client_secret": made["client_secret"],
    }


@pytest.mark.parametrize("role", ["operator", "viewer"])
async def test_a_role_opens_its_doors_and_no_others(
    door: Door, owner: httpx.AsyncClient, role: str
) -> None:
    await add(owner, "bob", role)
    async with door.browser() as browser:
        await door.signed_in(browser, "bob")
        me = (await browser.get("/api/v1/me")).json()
        assert (await browser.get("/toy/read")).status_code == 200
        written = await browser.post("/toy/write", json={"name": "x"}, headers=csrf(browser))
        listed = await browser.get("/api/v1/users")
    assert set(me["scopes"]) == ROLES[role]
    assert written.status_code == listed.status_code == 403


@pytest.mark.parametrize(
    "change", [{"role": "viewer"}, {"disabled": True}, {"password": "another horse"}, None]
)
async def test_what_takes_rights_away_counts_at_once(
    door: Door, owner: httpx.AsyncClient, change: dict[str, Any] | None
) -> None:
    bob = await add(owner, "bob", "operator")
    place = f"/api/v1/users/{bob['id']}"
    async with door.browser() as browser:
        await door.signed_in(browser, "bob")
        if change is None:
            assert (await owner.delete(place)).status_code == 204
        else:
            assert (await owner.patch(place, json=change)).status_code == 200
        assert (await browser.get("/toy/read")).status_code == 401
        refreshed = await browser.post("/api/v1/sessions/refresh", headers=csrf(browser))
        assert refreshed.status_code == 401


async def test_a_disabled_user_cannot_sign_in(door: Door, owner: httpx.AsyncClient) -> None:
    bob = await add(owner, "bob")
    link = (await owner.post(f"/api/v1/users/{bob['id']}/sign-in-link")).json()["path"]
    await owner.patch(f"/api/v1/users/{bob['id']}", json={"disabled": True})
    async with door.browser() as browser:
        assert (await door.signed_in(browser, "bob")).status_code == 401
        body = {"secret": link.partition("#")[2]}
        assert (await browser.post("/api/v1/sessions", json=body)).status_code == 401


async def test_the_last_administrator_stays(owner: httpx.AsyncClient) -> None:
    (admin,) = (await owner.get("/api/v1/users")).json()["items"]
    place = f"/api/v1/users/{admin['id']}"
    assert (await owner.delete(place)).status_code == 409
    assert (await owner.patch(place, json={"role": "viewer"})).status_code == 409
    assert (await owner.patch(place, json={"disabled": True})).status_code == 409
    await add(owner, "second", "admin")
    assert (await owner.delete(place)).status_code == 204


async def test_a_name_is_taken_once_whatever_its_case(owner: httpx.AsyncClient) -> None:
    await add(owner, "Bob")
    again = await owner.post("/api/v1/users", json={"name": "bob"})
    assert again.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "bob", "role": "root"},
        {"name": "bob", "scopes": ["users:write"]},
        {"name": "bob", "id": "1"},
        {"name": "bob", "password": "short"},
        {"name": "x" * 65},
    ],
)
async def test_malformed_users_are_refused(owner: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await owner.post("/api/v1/users", json=body)
    assert answer.status_code == 422
    assert len((await owner.get("/api/v1/users")).json()["items"]) == 1


async def test_no_answer_holds_a_password(owner: httpx.AsyncClient) -> None:
    bob = await add(owner, "bob")
    listed = await owner.get("/api/v1/users")
    assert set(bob) == {"id", "name", "role", "disabled", "has_password", "created_at"}
    assert "argon2" not in listed.text
    assert PASSWORD not in listed.text


async def test_a_new_link_replaces_the_one_before(door: Door, owner: httpx.AsyncClient) -> None:
    bob = await add(owner, "bob")
    secrets = [
        (await owner.post(f"/api/v1/users/{bob['id']}/sign-in-link"))
        .json()["path"]
        .partition("#")[2]
        for _ in range(2)
    ]
    async with door.browser() as browser:
        statuses = [
            (await browser.post("/api/v1/sessions", json={"secret": secret})).status_code
            for secret in secrets
        ]
    assert statuses == [401, 201]


async def test_ones_own_password_needs_the_current_one(
    door: Door, owner: httpx.AsyncClient
) -> None:
    await add(owner, "bob")
    async with door.browser() as browser, door.browser() as other:
        await door.signed_in(browser, "bob")
        await door.signed_in(other, "bob")
        new = {"new": "another horse"}
        place, headers = "/api/v1/me/password", csrf(browser)
        assert (await browser.put(place, json=new, headers=headers)).status_code == 403
        right = {**new, "current": PASSWORD}
        assert (await browser.put(place, json=right, headers=headers)).status_code == 204
        assert (await browser.get("/api/v1/me")).status_code == 200
        assert (await other.get("/api/v1/me")).status_code == 401


async def test_a_program_gets_a_token_for_its_scopes(door: Door, owner: httpx.AsyncClient) -> None:
    form = await program(owner, "cameras:read", "events:read")
    async with door.browser() as client:
        answer = await client.post(TOKEN, data=form)
        granted = answer.json()
        assert answer.headers["cache-control"] == "no-store"
        assert granted["scope"] == "cameras:read events:read"
        headers = {"authorization": f"Bearer {granted['access_token']}"}
        assert (await client.get("/toy/read", headers=headers)).json()["kind"] == "client"
        denied = await client.post("/toy/write", json={"name": "x"}, headers=headers)
        assert denied.status_code == 403
        narrowed = await client.post(TOKEN, data={**form, "scope": "events:read"})
        headers = {"authorization": f"Bearer {narrowed.json()['access_token']}"}
        assert (await client.get("/toy/read", headers=headers)).status_code == 403


async def test_a_program_may_prove_itself_by_basic_authentication(
    door: Door, owner: httpx.AsyncClient
) -> None:
    form = await program(owner, "cameras:read")
    auth = httpx.BasicAuth(form["client_id"], form["client_secret"])
    async with door.browser() as client:
        body = {"grant_type": "client_credentials"}
        assert (await client.post(TOKEN, data=body, auth=auth)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"scope": "cameras:read users:write"}, 400, "invalid_scope"),
    ],
)
async def test_token_errors_are_those_of_the_standard(
    door: Door, owner: httpx.AsyncClient, changes: dict[str, str], status: int, error: str
) -> None:
    form = {**await program(owner, "cameras:read"), **changes}
    async with door.browser() as client:
        answer = await client.post(TOKEN, data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize("header", ["Basic ???", "Basic " + base64.b64encode(b"a").decode(), "x"])
async def test_garbage_as_credentials_is_an_invalid_client(door: Door, header: str) -> None:
    async with door.browser() as client:
        body = {"grant_type": "client_credentials"}
        answer = await client.post(TOKEN, data=body, headers={"authorization": header})
    assert answer.status_code == 401


async def test_a_removed_programs_tokens_are_refused_at_once(
    door: Door, owner: httpx.AsyncClient
) -> None:
    form = await program(owner, "cameras:read")
    async with door.browser() as client:
        token = (await client.post(TOKEN, data=form)).json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        await owner.delete(f"/api/v1/clients/{form['client_id']}")
        assert (await client.get("/toy/read", headers=headers)).status_code == 401
        assert (await client.post(TOKEN, data=form)).status_code == 401


async def test_nobody_gives_away_what_they_do_not_hold(
    door: Door, owner: httpx.AsyncClient
) -> None:
    form = await program(owner, "users:write", "users:read")
    async with door.browser() as client:
        token = (await client.post(TOKEN, data=form)).json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        body = {"name": "more", "scopes": ["cameras:write"]}
        answer = await client.post("/api/v1/clients", json=body, headers=headers)
    assert answer.status_code == 403


async def test_a_programs_secret_is_shown_once(owner: httpx.AsyncClient) -> None:
    form = await program(owner, "cameras:read")
    listed = await owner.get("/api/v1/clients")
    assert form["client_secret"] not in listed.text


async def test_the_public_keys_verify_what_the_gateway_signs(door: Door) -> None:
    async with door.browser() as client:
        answer = await client.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    assert (key["kty"], key["alg"], "d" in key) == ("RSA", "RS256", False)


async def test_the_api_of_all_services_is_described_for_those_who_may_come_in(
    door: Door, owner: httpx.AsyncClient
) -> None:
    async with door.browser() as client:
        assert (await client.get("/openapi.json")).status_code == 401
    paths = (await owner.get("/openapi.json")).json()["paths"]
    assert {"/api/v1/users", "/toy/write", "/health"} <= set(paths)
