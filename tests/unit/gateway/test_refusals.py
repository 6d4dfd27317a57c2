"""Refusals in the audit trail: who, what, which scope, from where; and a flood of them is one entry with its number."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.refusals import MOST, OTHERS
from services.gateway.service import SERVICE
from shared.clock import ManualClock
from shared.db.engine import DatabaseUnavailable, Transaction
from shared.runtime import application
from shared.settings import Configuration, PlatformSettings
from tests.unit.gateway.conftest import NOW, PASSWORD, Door, csrf
from tests.unit.gateway.test_audit import entries
from tests.unit.platform import toys

WRONG = {"name": "admin", "password": "wrong pass"}
HOME, AWAY = "192.0.2.7", "2001:db8::7"


def caller(door: Door, address: str) -> httpx.AsyncClient:
    """A browser at this address."""
    transport = httpx.ASGITransport(door.app, client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://vantage.test")


async def refused(owner: httpx.AsyncClient, count: int, **query: Any) -> list[dict[str, Any]]:
    return await entries(owner, count, outcome="refused", **query)


async def viewer(owner: httpx.AsyncClient) -> str:
    body = {"name": "eve", "role": "viewer", "password": PASSWORD}
    return str((await owner.post("/api/v1/users", json=body)).json()["id"])


async def test_a_scope_that_lacks_is_said_with_caller_way_and_address(
    door: Door, owner: httpx.AsyncClient
) -> None:
    eve = await viewer(owner)
    async with caller(door, HOME) as browser:
        await door.signed_in(browser, "eve")
        written = await browser.post("/toy/write", json={"name": "x"}, headers=csrf(browser))
        assert written.status_code == 403
        assert (await browser.get("/api/v1/users")).status_code == 403
        assert (await browser.get("/toy/read")).status_code == 200
    second, first = await refused(owner, 2)
    assert (first["actor"], first["actor_kind"]) == (eve, "user")
    assert (first["action"], first["object"]) == ("call.made", "way:POST /toy/write")
    assert first["reason"].startswith("lacks cameras:write, from ")
    assert second["object"] == "way:GET /api/v1/users"
    assert second["reason"].startswith("lacks users:read, from ")
    assert first["correlation"]


async def test_a_websocket_too(door: Door, owner: httpx.AsyncClient) -> None:
    asked = {"name": "counter", "scopes": ["events:read"]}
    made = (await owner.post("/api/v1/clients", json=asked)).json()
    form = {
        "grant_type": "client_credentials",
        **{k: made[k] for k in ("client_id", "client_secret")},
    }
    async with caller(door, HOME) as program:
        token = (await program.post("/oauth2/token", data=form)).json()["access_token"]
        more = {**form, "scope": "events:read users:write"}
        assert (await program.post("/oauth2/token", data=more)).status_code == 400
    header = {"authorization": f"Bearer {token}"}
    assert not await toys.handshake(door.app, "/toy/live", header)
    lacks, asks = await refused(owner, 2, actor=made["client_id"])
    assert (lacks["action"], lacks["object"]) == ("call.made", "way:WEBSOCKET /toy/live")
    assert lacks["reason"].startswith("lacks media:read, from ")
    assert (asks["action"], asks["object"]) == ("token.issued", f"client:{made['client_id']}")
    assert asks["reason"].startswith("asks for a scope it lacks, from ")


async def test_addresses_are_told_apart_and_found_but_do_not_stand_there(
    door: Door, owner: httpx.AsyncClient
) -> None:
    for address in (HOME, AWAY):
        async with caller(door, address) as browser:
            assert (await browser.post("/api/v1/sessions", json=WRONG)).status_code == 401
    all_of_them = await refused(owner, 2)
    assert len({one["reason"] for one in all_of_them}) == 2
    (home,) = await refused(owner, 1, address=HOME)
    (away,) = await refused(owner, 1, address=AWAY)
    assert {home["index"], away["index"]} == {one["index"] for one in all_of_them}
    assert await refused(owner, 0, address="192.0.2.8") == []
    told = json.dumps(all_of_them)
    assert HOME not in told
    assert AWAY not in told


async def test_a_flood_of_sign_ins_is_the_first_and_a_number(
    door: Door, owner: httpx.AsyncClient
) -> None:
    (admin,) = (await owner.get("/api/v1/users")).json()["items"]
    async with caller(door, HOME) as browser:
        answers = [await browser.post("/api/v1/sessions", json=WRONG) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {401, 429}
    throttled, failed = await refused(owner, 2)
    assert (failed["object"], throttled["object"]) == (f"user:{admin['id']}",) * 2
    assert failed["reason"].startswith("by password, from ")
    assert throttled["reason"].startswith("throttled by password, from ")
    door.clock.advance(61)
    counted = (await refused(owner, 4))[:2]
    assert {one["reason"].rpartition(", ")[2] for one in counted} == {
        "4 times more within 60 s",
        "34 times more within 60 s",
    }
    await asyncio.sleep(1.5)
    assert len(await refused(owner, 4)) == 4


async def test_throttled_programs_and_links_are_said(door: Door, owner: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials", "client_id": "guess", "client_secret": "wrong"}
    async with caller(door, HOME) as program:
        statuses = [(await program.post("/oauth2/token", data=form)).status_code for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
    async with caller(door, AWAY) as browser:
        link = {"secret": "wrong"}
        for _ in range(7):
            await browser.post("/api/v1/sessions", json=link)
    found = [(one["object"], one["reason"].split(", from")[0]) for one in await refused(owner, 4)]
    assert list(reversed(found)) == [
        ("client:unknown", "by secret"),
        ("client:unknown", "throttled by secret"),
        ("user:unknown", "by link"),
        ("user:unknown", "throttled by link"),
    ]


async def test_a_flood_from_everywhere_costs_a_bounded_number_of_entries(
    door: Door, owner: httpx.AsyncClient
) -> None:
    callers = 3 * MOST
    for number in range(callers):
        async with caller(door, f"198.51.100.{number}") as browser:
            assert (await browser.post("/api/v1/sessions", json=WRONG)).status_code in (401, 429)
    found = await refused(owner, MOST + 1)
    door.clock.advance(61)
    found = await refused(owner, MOST + 2)
    await asyncio.sleep(1.5)
    found = await refused(owner, MOST + 2)
    assert len(found) <= MOST + 4
    others = [one["reason"] for one in found if one["object"] == OTHERS]
    counted = sum(
        int(reason.rpartition(", ")[2].split()[0]) for reason in others if "times" in reason
    )
    assert len(found) - len([reason for reason in others if "times" in reason]) + counted == callers


async def test_what_was_counted_is_said_at_the_end(tmp_path: Path) -> None:
    async with started(tmp_path) as owner:
        for _ in range(3):
            await owner.post("/api/v1/sessions", json=WRONG)
        await refused(owner, 1)
    async with started(tmp_path) as owner:
        found = await refused(owner, 2)
    assert [one["reason"].count("2 times more within 60 s") for one in found] == [1, 0]


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's client of a gateway whose log outlives it."""
    toys.write_key(folder / "keys")
    settings = PlatformSettings(data_dir=folder, admin_password=PASSWORD)
    app = application([SERVICE], settings, configuration=Configuration(), clock=ManualClock(NOW))
    async with toys.lifespan(app), toys.caller(app, owner=True) as owner:
        yield owner


async def test_a_database_that_is_away_leaves_the_refusal_as_it_is(
    door: Door, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await viewer(owner)
    async with caller(door, HOME) as browser:
        await door.signed_in(browser, "eve")
        with monkeypatch.context() as patch:

            async def full(_self: Transaction, _envelopes: object) -> None:
                raise DatabaseUnavailable("the disk is full; free some space")

            patch.setattr(Transaction, "add", full)
            assert (await browser.get("/api/v1/users")).status_code == 403
        door.clock.advance(61)
        (entry,) = await refused(owner, 1)
    assert entry["reason"].endswith("1 times more within 60 s")
