"""What was revoked stays revoked for as long as a token can live: over removals, restarts and upgrades."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from shared.clock import ManualClock
from shared.security.guard import ACCESS_COOKIE
from shared.security.revocations import REMEMBERED_S
from tests.unit.gateway.conftest import NOW, PASSWORD, Door, csrf, gateway
from tests.unit.platform import toys


async def token_of_new_user(owner: httpx.AsyncClient, browser: httpx.AsyncClient) -> str:
    body = {"name": "bob", "password": PASSWORD}
    assert (await owner.post("/api/v1/users", json=body)).status_code == 201
    assert (await browser.post("/api/v1/sessions", json=body)).status_code == 201
    return str(browser.cookies[ACCESS_COOKIE])


async def token_of_new_client(owner: httpx.AsyncClient) -> tuple[str, str]:
    made = await owner.post("/api/v1/clients", json={"name": "robot", "scopes": ["cameras:read"]})
    form = {
        "grant_type": "client_credentials",
        "client_id": made.json()["client_id"],
        "client_secret": made.json()["client_secret"],
    }
    granted = await owner.post("/oauth2/token", data=form)
    return made.json()["client_id"], granted.json()["access_token"]


async def status(client: httpx.AsyncClient, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return (await client.get("/toy/read", headers=headers)).status_code


async def test_who_was_removed_stays_out_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with (
        toys.lifespan(app),
        toys.caller(app, owner=True) as owner,
        toys.caller(app) as browser,
        toys.caller(app) as stranger,
    ):
        bob = await token_of_new_user(owner, browser)
        robot_id, robot = await token_of_new_client(owner)
        assert [await status(stranger, token) for token in (bob, robot)] == [200, 200]
        users = (await owner.get("/api/v1/users")).json()["items"]
        (bob_id,) = [user["id"] for user in users if user["name"] == "bob"]
        assert (await owner.delete(f"/api/v1/users/{bob_id}")).status_code == 204
        assert (await owner.delete(f"/api/v1/clients/{robot_id}")).status_code == 204
        assert [await status(stranger, token) for token in (bob, robot)] == [401, 401]
    clock.advance(300)
    again = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(again), toys.caller(again) as stranger:
        assert [await status(stranger, token) for token in (bob, robot)] == [401, 401]


async def test_other_processes_may_ask_and_strangers_may_not(
    door: Door, owner: httpx.AsyncClient
) -> None:
    robot_id, _ = await token_of_new_client(owner)
    path = f"/api/v1/revocations/{robot_id}"
    before = await owner.get(path)
    assert (before.json(), before.headers["cache-control"]) == ({"revoked": False}, "no-store")
    await owner.delete(f"/api/v1/clients/{robot_id}")
    assert (await owner.get(path)).json() == {"revoked": True}
    async with door.browser() as stranger:
        assert (await stranger.get(path)).status_code == 401
    assert (await owner.get(f"/api/v1/revocations/{'x' * 65}")).status_code == 422


async def test_they_are_forgotten_when_no_token_can_live_any_more(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(app), toys.caller(app) as browser:
        await browser.post("/api/v1/sessions", json={"name": "admin", "password": PASSWORD})
        await browser.delete("/api/v1/sessions/current", headers=csrf(browser))
    assert rows(tmp_path) == 1
    clock.advance(REMEMBERED_S + 1)
    again = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(again):
        deadline = time.monotonic() + 30
        while rows(tmp_path):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def rows(folder: Path) -> int:
    return int(run(folder, "SELECT count(*) FROM revocations")[0][0])


def run(folder: Path, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement, from outside the app."""
    engine = create_engine(f"sqlite:///{folder}/db/gateway.db")
    try:
        with engine.begin() as connection:
            found = [connection.execute(text(statement)) for statement in statements][-1]
            return [tuple(row) for row in found] if found.returns_rows else []
    finally:
        engine.dispose()


@pytest.mark.parametrize("revoked_ago", [10, 500])
async def test_an_upgrade_keeps_what_was_revoked_before_it(
    tmp_path: Path, revoked_ago: int
) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(app), toys.caller(app) as browser:
        await browser.post("/api/v1/sessions", json={"name": "admin", "password": PASSWORD})
        stolen = browser.cookies[ACCESS_COOKIE]
        await browser.delete("/api/v1/sessions/current", headers=csrf(browser))
    run(
        tmp_path,
        "DROP TABLE revocations",
        "DROP TABLE audit_entries",
        "DROP TABLE dead_letter_replays",
        "UPDATE gateway_alembic SET version_num = '0001'",
    )
    clock.advance(revoked_ago)
    again = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(again), toys.caller(again) as thief:
        assert await status(thief, stolen) == 401
    assert rows(tmp_path) == 1
