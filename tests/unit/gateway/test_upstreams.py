"""The gateway before several processes that serve the same: whom a call goes to, and when it is made again."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from services.gateway.proxy import make_client, make_proxy_router
from services.gateway.table import Table
from shared.http import Application
from shared.metrics import Metrics

WAYS = {
    "ways": [
        {"method": method, "path": path, "scope": None, "public": True}
        for method, path in (("GET", "/things"), ("POST", "/things"), ("GET", "/things/{id}"))
    ],
    "openapi": {"paths": {"/things": {}}},
}


class Peer:
    """An upstream on a real socket that can refuse, fall silent in the act, or say that it is leaving."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: dict[str, str] = {}
        self.drops = False  # take a call whole, then hang up without an answer
        self.calls: Counter[str] = Counter()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Event] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer, over in list(self._open.items()):
                writer.transport.abort()
                await over.wait()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = self._open[writer] = asyncio.Event()
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._open[writer]
            writer.close()
            over.set()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)
        await reader.readexactly(int(fields.get("content-length", "0")))
        status, body = 200, self._body(path)
        if path == "/ready" and self.faults:
            status = 503
        elif path.startswith("/things"):
            self.calls[method] += 1
            if self.drops:
                return False
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        return True

    def _body(self, path: str) -> bytes:
        known: dict[str, Any] = {
            "/ways": WAYS,
            "/ready": {"ready": not self.faults, "faults": self.faults},
        }
        return json.dumps(known.get(path, {"by": self.name})).encode()


class House:
    """A gateway before peers."""

    def __init__(self, table: Table, client: httpx.AsyncClient, peers: list[Peer]) -> None:
        self.table = table
        self.client = client
        self.peers = peers

    async def until(self, **states: str) -> None:
        """Wait until the table says so of the peers."""
        wanted = {peer.url: states.get(peer.name, "ready") for peer in self.peers}
        async with asyncio.timeout(30):
            while self.states() != wanted:  # noqa: ASYNC110 - nothing tells of a change
                await asyncio.sleep(0.02)

    def states(self) -> dict[str, str]:
        return {one.address: one.state for one in self.table._upstreams.values()}

    async def asked(self, count: int) -> Counter[str]:
        """Who answered so many calls."""
        answers = [await self.client.get("/things") for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}
        return Counter(answer.json()["by"] for answer in answers)


@asynccontextmanager
async def house(*names: str) -> AsyncIterator[House]:
    peers = [Peer(name) for name in names]
    async with AsyncExitStack() as stack:
        for peer in peers:
            await peer.start()
            stack.push_async_callback(peer.stop)
        table = Table([peer.url for peer in peers], lambda: "token")
        outward = await stack.enter_async_context(make_client())
        app = Application(Metrics(), body_limit=10_000)
        app.state.guard = None  # every way here is public
        app.include_router(make_proxy_router(table, outward, lambda: "token"))
        keeper = asyncio.create_task(table.keep())
        stack.callback(keeper.cancel)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        inward = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        found = House(table, await stack.enter_async_context(inward), peers)
        await found.until()
        yield found


async def test_equals_are_used_in_turn() -> None:
    async with house("a", "b", "c") as found:
        assert await found.asked(9) == {"a": 3, "b": 3, "c": 3}


async def test_one_that_is_gone_costs_no_call_and_comes_back_by_itself() -> None:
    async with house("a", "b") as found:
        first = found.peers[0]
        await first.stop()
        assert await found.asked(10) == {"b": 10}
        await found.until(a="silent")
        await first.start()
        await found.until()
        assert await found.asked(10) == {"a": 5, "b": 5}


async def test_a_body_that_nobody_took_goes_to_the_next() -> None:
    async with house("a", "b") as found:
        await found.peers[0].stop()
        answers = [await found.client.post("/things", json={"n": n}) for n in range(4)]
        assert [answer.json() for answer in answers] == [{"by": "b"}] * 4


async def test_a_body_that_may_have_been_taken_is_never_sent_again() -> None:
    async with house("a", "b") as found:
        for peer in found.peers:
            peer.drops = True
        refused = await found.client.post("/things", json={"pay": 100})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert "127.0.0.1" not in refused.text
        assert sum(peer.calls["POST"] for peer in found.peers) == 1


async def test_a_call_that_changes_nothing_is_asked_of_the_next() -> None:
    async with house("a", "b") as found:
        found.peers[0].drops = True
        assert await found.asked(6) == {"b": 6}
        found.peers[1].drops = True
        refused = await found.client.get("/things")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


async def test_who_is_leaving_gets_no_call_even_alone() -> None:
    async with house("a", "b") as found:
        first, second = found.peers
        first.faults = {"runtime": "draining"}
        await found.until(a="leaving")
        assert await found.asked(6) == {"b": 6}
        second.faults = {"runtime": "draining"}
        await found.until(a="leaving", b="leaving")
        before = first.calls["GET"] + second.calls["GET"]
        assert (await found.client.get("/things")).status_code == 503
        assert first.calls["GET"] + second.calls["GET"] == before


async def test_who_is_unwell_is_asked_where_nobody_is_well() -> None:
    async with house("a", "b") as found:
        found.peers[0].faults = {"vms.database": "the disk is full"}
        await found.until(a="unwell")
        assert await found.asked(4) == {"b": 4}
        await found.peers[1].stop()
        assert await found.asked(4) == {"a": 4}


@pytest.mark.parametrize("path", ["/nowhere", "/things/a/b"])
async def test_what_nobody_serves_is_unknown_only_once_all_have_spoken(path: str) -> None:
    async with house("a", "b") as found:
        guarded = _Anybody()
        found.client._transport.app.state.guard = guarded  # type: ignore[attr-defined]  # httpx's own
        assert (await found.client.get(path)).status_code == 404
        found.table._upstreams[found.peers[0].url].answer = None
        assert (await found.client.get(path)).status_code == 503


class _Anybody:
    """A guard that lets everybody in."""

    async def principal(self, _connection: object) -> Any:
        from services.gateway.proxy import NOBODY

        return NOBODY


async def test_a_table_knows_after_one_look() -> None:
    async with house("a", "b") as found:
        other = Table([peer.url for peer in found.peers], lambda: "token")
        assert other.match("HEAD", "/things/7") is None
        await other.look()
        assert other.complete
        match = other.match("HEAD", "/things/7")
        assert match is not None
        assert set(other.turn(match)) == {peer.url for peer in found.peers}


async def test_health_tells_strangers_no_address() -> None:
    async with house("a", "b") as found:
        await found.peers[0].stop()
        await found.until(a="silent")
        health = await found.table.check()
        assert (health.status, health.reason) == (
            "degraded",
            "1 of 2 upstreams take no calls",
        )
        assert list(health.details) == [found.peers[0].url]
