"""The audit trail: in the order of the log, once each, without names; and whoever touches it is found out (R26)."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from schemas import topics
from schemas.event import Envelope
from schemas.events.audit_recorded import AuditRecorded
from services.gateway.domain import GENESIS, Check, Entry, chained
from services.gateway.models import audit_entries
from services.gateway.store import AuditStore
from services.gateway.trail import FOLDER, Question, Trail
from shared.blobs.files import FileBlobs
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock
from shared.db.engine import Database
from shared.db.sqlite import open_sqlite
from shared.errors import Poison
from shared.security.keys import SigningKeys
from tests.unit.gateway.conftest import PASSWORD, Door, csrf
from tests.unit.platform import toys

PLACE = Partition("audit", 0)


def said(number: int, **more: Any) -> Envelope:
    given = {"actor": "u1", "actor_kind": "user", "action": "rule.changed", "outcome": "done"}
    event = AuditRecorded(object=f"rule:{number}", recorded_at=number, **{**given, **more})
    return Envelope(
        id=f"e{number}", source="/test", topic="audit", key=event.key, event=event, correlation="c"
    )


def batch(*envelopes: Envelope) -> Batch:
    return Batch(PLACE, envelopes, len(envelopes))


class Rig:
    """A trail on a real database and a folder of checkpoints."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.blobs = FileBlobs(folder / "blobs")
        toys.write_key(folder / "keys")
        self.keys = SigningKeys.open(folder / "keys")
        self.trail = Trail(
            database, AuditStore(), ManualClock(1),
            blobs=self.blobs, keys=self.keys, pseudonyms=lambda address: [address],
        )  # fmt: skip

    async def grow(self, count: int, start: int = 1) -> None:
        await self.trail(batch(*(said(n) for n in range(start, start + count))))

    async def tamper(self, *statements: Any) -> None:
        async with self.database.transaction() as tx:
            for statement in statements:
                await tx.execute(statement)

    async def rows(self) -> list[dict[str, Any]]:
        async with self.database.read() as reader:
            found = await reader.execute(select(audit_entries).order_by(audit_entries.c.index))
            return [{str(k): v for k, v in row.items()} for row in found.mappings()]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_sqlite(
        f"sqlite+aiosqlite:///{tmp_path}",
        service="gateway",
        clock=ManualClock(1),
        migrations="services.gateway.migrations",
    ) as database:
        yield Rig(database, tmp_path)


async def test_entries_are_chained_in_order_and_once_each(rig: Rig) -> None:
    await rig.grow(5)
    await rig.grow(5, start=3)
    rows = await rig.rows()
    assert [(row["index"], row["event_id"]) for row in rows] == [(n, f"e{n}") for n in range(1, 8)]
    before = GENESIS
    for row in rows:
        before = chained(before, Entry(**{n: row[n] for n in Entry.__struct_fields__}))
        assert row["hash"] == before
    found = await rig.trail.verify()
    assert (found["ok"], found["entries"], found["head"]) == (True, 7, before)


async def test_an_empty_trail_holds(rig: Rig) -> None:
    found = await rig.trail.verify()
    assert (found["ok"], found["entries"], found["head"]) == (True, 0, GENESIS)
    assert await rig.trail.anchor() == 0


async def test_two_writers_never_fork_it(rig: Rig) -> None:
    await rig.grow(2)
    newest = (await rig.rows())[-1]
    with pytest.raises(IntegrityError):
        await rig.tamper(insert(audit_entries).values({**newest, "event_id": "other"}))
    assert (await rig.trail.verify())["entries"] == 2


async def test_an_id_that_is_none_of_ours_is_poison(rig: Rig) -> None:
    with pytest.raises(Poison, match="65 characters"):
        await rig.trail(batch(msgspec.structs.replace(said(1), id="x" * 65)))


TABLE = audit_entries.c
EDITS: dict[str, tuple[list[Any], int]] = {
    "edit": ([update(audit_entries).where(TABLE.index == 4).values(reason="nothing")], 4),
    "edit of who": ([update(audit_entries).where(TABLE.index == 9).values(actor="u2")], 9),
    "delete": ([delete(audit_entries).where(TABLE.index == 6)], 6),
    "delete the first": ([delete(audit_entries).where(TABLE.index == 1)], 1),
    "reorder": (
        [
            update(audit_entries).where(TABLE.index == 3).values(index=99),
            update(audit_entries).where(TABLE.index == 4).values(index=3),
            update(audit_entries).where(TABLE.index == 99).values(index=4),
        ],
        3,
    ),
    "truncate": ([delete(audit_entries).where(TABLE.index > 7)], 8),
    "truncate all": ([delete(audit_entries)], 1),
}


@pytest.mark.parametrize("name", EDITS)
async def test_r26_the_first_bad_entry_is_named(rig: Rig, name: str) -> None:
    statements, first_bad = EDITS[name]
    await rig.grow(10)
    assert await rig.trail.anchor() == 10
    assert (await rig.trail.verify())["ok"]
    await rig.tamper(*statements)
    found = await rig.trail.verify()
    assert (found["ok"], found["first_bad"]) == (False, first_bad), found


async def test_r26_a_trail_written_anew_is_caught_by_its_checkpoint(rig: Rig) -> None:
    await rig.grow(5)
    await rig.trail.anchor()
    await rig.tamper(delete(audit_entries))
    await rig.trail(batch(*(said(n, actor="u2") for n in range(1, 6))))
    found = await rig.trail.verify()
    assert (found["first_bad"], "signed checkpoint" in found["reason"]) == (5, True)


async def test_what_was_cut_off_after_the_newest_checkpoint_is_not_noticed(rig: Rig) -> None:
    """The limit of it, said in docs/operations.md."""
    await rig.grow(5)
    await rig.trail.anchor()
    await rig.grow(3, start=6)
    await rig.tamper(delete(audit_entries).where(TABLE.index > 5))
    assert (await rig.trail.verify())["ok"]


@pytest.mark.parametrize("how", ["other key", "no token", "other kind", "edited"])
async def test_a_checkpoint_that_we_did_not_sign_counts_for_nothing(rig: Rig, how: str) -> None:
    await rig.grow(3)
    kid, private = rig.keys.active()
    claims = {"index": 3, "hash": "f" * 64, "at": 1}
    header = {"kid": kid, "typ": "vantage-audit+jwt"}
    good = jwt.encode(claims, private, "RS256", headers=header)
    forged = {
        "other key": jwt.encode(claims, "secret" * 8, "HS256", headers=header),
        "no token": "nothing",
        "other kind": jwt.encode(claims, private, "RS256", headers={"kid": kid, "typ": "at+jwt"}),
        "edited": good[:-8] + "AAAAAAAA",
    }[how]
    key = f"{FOLDER}/{3:015d}.json"
    await rig.blobs.put(key, json.dumps({"token": forged}).encode(), "application/json")
    found = await rig.trail.verify()
    assert (found["ok"], found["unreadable_checkpoints"]) == (False, [key])
    assert found["first_bad"] is None


async def test_the_check_goes_on_page_by_page() -> None:
    check = Check({})
    before, entries = GENESIS, []
    for index in range(1, 5_001):
        entry = Entry(
            index=index, event_id=str(index), source="", correlation="", actor="a",
            actor_kind="user", action="rule.changed", object="rule:1", outcome="done",
            reason="", recorded_at=index,
        )  # fmt: skip
        before = chained(before, entry)
        entries.append((entry, before))
    assert check.go_on(entries[:2_500]) is None
    assert check.go_on(entries[2_500:]) is None
    assert (check.index, check.hash, check.end()) == (5_000, before, None)


async def test_pages_and_filters(rig: Rig) -> None:
    await rig.grow(7)
    await rig.trail(batch(said(8, actor="u2", action="rule.removed")))
    page, on = await rig.trail.page(Question(actor="u1"), before=None, limit=4)
    rest, end = await rig.trail.page(Question(actor="u1"), before=on, limit=4)
    assert [one["index"] for one in [*page, *rest]] == [7, 6, 5, 4, 3, 2, 1]
    assert end is None
    removed, _ = await rig.trail.page(Question(action="rule.removed"), before=None, limit=4)
    assert [one["actor"] for one in removed] == ["u2"]
    between, _ = await rig.trail.page(Question(since=3, until=5), before=None, limit=9)
    assert [one["index"] for one in between] == [4, 3]


async def entries(owner: httpx.AsyncClient, count: int, **query: Any) -> list[dict[str, Any]]:
    """The newest `count` entries that fit, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            answer = await owner.get("/api/v1/audit", params=query)
            assert answer.status_code == 200, answer.text
            if len(items := answer.json()["items"]) >= count:
                return list(items)
            await asyncio.sleep(0.02)


async def comes_and_goes(door: Door) -> None:
    """Bob signs in, changes his password, signs out; then others try."""
    async with door.browser() as browser:
        await door.signed_in(browser, "bob")
        await browser.put(
            "/api/v1/me/password", json={"current": PASSWORD, "new": "another horse"},
            headers=csrf(browser),
        )  # fmt: skip
        await browser.delete("/api/v1/sessions/current", headers=csrf(browser))
        await browser.post("/api/v1/sessions", json={"name": "bob", "password": "wrong horse"})
        await browser.post("/api/v1/sessions", json={"name": "bobs-secret", "password": "x"})
        await browser.post("/api/v1/sessions", json={"secret": "wrong"})


async def test_what_people_do_at_the_gateway_is_said(door: Door, owner: httpx.AsyncClient) -> None:
    body = {"name": "bob", "role": "operator", "password": PASSWORD}
    bob = (await owner.post("/api/v1/users", json=body)).json()["id"]
    await comes_and_goes(door)
    await owner.patch(f"/api/v1/users/{bob}", json={"role": "viewer", "disabled": True})
    await owner.delete(f"/api/v1/users/{bob}")
    asked = {"name": "exporter", "scopes": ["events:read"]}
    client = (await owner.post("/api/v1/clients", json=asked)).json()["client_id"]
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": "wrong"}
    await owner.post("/oauth2/token", data=form)
    await owner.delete(f"/api/v1/clients/{client}")
    found = [one for one in await entries(owner, 13) if one["actor"] != "system"]
    user, program = f"user:{bob}", f"client:{client}"
    assert [
        (
            one["actor"],
            one["action"],
            one["object"],
            one["outcome"],
            one["reason"].split(", from")[0],
        )
        for one in reversed(found)
    ] == [
        ("owner", "user.added", user, "done", "role operator"),
        (bob, "session.begun", user, "done", "by password"),
        (bob, "user.changed", user, "done", "password"),
        (bob, "session.ended", user, "done", "signed out"),
        ("nobody", "session.begun", user, "refused", "by password"),
        ("nobody", "session.begun", "user:unknown", "refused", "by password"),
        ("nobody", "session.begun", "user:unknown", "refused", "by link"),
        ("owner", "user.changed", user, "done", "role viewer, disabled"),
        ("owner", "user.removed", user, "done", ""),
        ("owner", "client.added", program, "done", "events:read"),
        ("nobody", "token.issued", program, "refused", "by secret"),
        ("owner", "client.removed", program, "done", ""),
    ]
    told = json.dumps(found)
    assert not any(word in told for word in ("bob", "exporter", PASSWORD, "horse", "127.0.0.1"))
    assert (await owner.get("/api/v1/audit/verification")).json()["ok"]


async def test_what_was_refused_is_not_said_to_be_done(
    door: Door, owner: httpx.AsyncClient
) -> None:
    (admin,) = (await owner.get("/api/v1/users")).json()["items"]
    assert (await owner.delete(f"/api/v1/users/{admin['id']}")).status_code == 409
    assert (await owner.post("/api/v1/users", json={"name": "admin"})).status_code == 409
    await owner.post("/api/v1/users", json={"name": "last"})
    newest = (await entries(owner, 2))[0]
    assert newest["action"] == "user.added"
    assert await entries(owner, 0, action="user.removed") == []
    assert len(await entries(owner, 0, action="user.added")) == 2


async def test_it_comes_as_a_file_too(owner: httpx.AsyncClient) -> None:
    for name in ("one", "two"):
        await owner.post("/api/v1/users", json={"name": name})
    count = len(await entries(owner, 3))
    table = await owner.get("/api/v1/audit", params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(rows) == count
    assert rows[0]["action"] == "user.added"
    lines = (await owner.get("/api/v1/audit", params={"format": "json"})).text.splitlines()
    assert [json.loads(line)["index"] for line in lines] == [int(row["index"]) for row in rows]


@pytest.mark.parametrize("query", [{"cursor": 0}, {"limit": 501}, {"from": "x"}, {"who": "u"}])
async def test_questions_that_make_no_sense(
    owner: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    assert (await owner.get("/api/v1/audit", params=query)).status_code == 422


async def test_nobody_but_an_administrator_reads_it(door: Door, owner: httpx.AsyncClient) -> None:
    body = {"name": "eve", "role": "operator", "password": PASSWORD}
    await owner.post("/api/v1/users", json=body)
    async with door.browser() as browser:
        await door.signed_in(browser, "eve")
        for path in ("audit", "audit/verification", "dead-letters"):
            assert (await browser.get(f"/api/v1/{path}")).status_code == 403
        answer = await browser.post("/api/v1/dead-letters/replays", json={}, headers=csrf(browser))
        assert answer.status_code == 403
    assert topics.AUDIT.partitions == 1
