"""What is revoked at the gateway is refused at once by services in other processes, whatever becomes of Redis."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.engines import processes
from tests.engines.redis import RedisServer
from tests.integration.test_runtime_gateway import PASSWORD, Pair, csrf_of, started

pytestmark = pytest.mark.redis

CALL = "/api/v1/channels"


@pytest.fixture
def pair(tmp_path: Path, own_redis_server: RedisServer) -> Iterator[Pair]:
    """A gateway and services in two processes with two data folders: Redis is all that they share."""
    yield from started(
        tmp_path,
        VANTAGE_CACHE_URL=f"{own_redis_server.url}?timeout=2",
        VANTAGE_DASHBOARD_RECHECK="0.2",
    )


class Visitor:
    """Somebody signed in at the gateway, whose token also goes straight to the services."""

    def __init__(self, pair: Pair, browser: httpx.Client) -> None:
        self._browser = browser
        self._services = pair.services.url
        body = {"name": "admin", "password": PASSWORD}
        assert self._browser.post("/api/v1/sessions", json=body).status_code == 201
        token = self._browser.cookies["vantage_access"]
        self._bearer = {"authorization": f"Bearer {token}"}

    def status(self) -> int:
        """What the services answer."""
        return httpx.get(f"{self._services}{CALL}", headers=self._bearer, timeout=20).status_code

    def live_view(self) -> ClientConnection:
        """Watch live, straight at the services."""
        address = self._services.replace("http", "ws") + "/api/v1/live"
        return connect(address, additional_headers=self._bearer, proxy=None)

    def sign_out(self) -> None:
        answer = self._browser.delete("/api/v1/sessions/current", headers=csrf_of(self._browser))
        assert answer.status_code == 204

    def signed_out_is_refused(self) -> bool:
        """Whether the token is good until it is revoked, and at no call after that."""
        before = self.status()
        self.sign_out()
        return (before, [self.status() for _ in range(20)]) == (200, [401] * 20)


@pytest.fixture
def visit(pair: Pair) -> Iterator[Callable[[], Visitor]]:
    """Sign somebody in."""
    with ExitStack() as browsers:
        yield lambda: Visitor(pair, browsers.enter_context(pair.browser()))


def ended_with(view: ClientConnection) -> int | None:
    """The code with which the server ends a live view."""
    try:
        while True:
            view.recv(timeout=60)
    except ConnectionClosed:
        return view.close_code


def cache_state(pair: Pair, service: str = "services") -> str:
    health = httpx.get(f"{getattr(pair, service).url}/health", timeout=20)
    assert health.status_code == 200  # degraded is no reason to be taken out of service
    return str(health.json()["details"]["dependencies"]["cache"]["status"])


def until_cache_is(pair: Pair, state: str) -> None:
    deadline = time.monotonic() + 60
    while {cache_state(pair), cache_state(pair, "gateway")} != {state}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_revoked_token_is_refused_everywhere_at_once(
    pair: Pair, visit: Callable[[], Visitor], own_redis_server: RedisServer
) -> None:
    early = visit()
    with early.live_view() as view:
        assert early.signed_out_is_refused()
        assert ended_with(view) == 1008

    own_redis_server.forget()
    assert early.status() == 401
    assert visit().signed_out_is_refused()

    stays = visit()
    own_redis_server.kill()
    until_cache_is(pair, "degraded")
    assert (early.status(), stays.status()) == (401, 200)
    late = visit()
    assert late.signed_out_is_refused()

    own_redis_server.start()
    until_cache_is(pair, "healthy")
    assert [visitor.status() for visitor in (early, late, stays)] == [401, 401, 200]
    assert visit().signed_out_is_refused()

    own_redis_server.freeze()
    try:
        assert (early.status(), stays.status()) == (401, 200)
        assert visit().signed_out_is_refused()
        with stays.live_view() as view:
            processes.kill(pair.gateway.process)
            assert (early.status(), stays.status()) == (503, 503)
            assert ended_with(view) == 1013  # nobody can tell: look again later
    finally:
        own_redis_server.thaw()


def test_a_program_that_was_removed_is_refused_everywhere_at_once(
    pair: Pair, own_redis_server: RedisServer
) -> None:
    with pair.gateway.socket_client() as owner:
        body = {"name": "robot", "scopes": ["channels:read"]}
        made = owner.post("/api/v1/clients", json=body).json()
        form = {
            "grant_type": "client_credentials",
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
        }
        token = httpx.post(f"{pair.gateway.url}/oauth2/token", data=form).json()["access_token"]
        bearer = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{pair.services.url}{CALL}", headers=bearer).status_code == 200
        assert owner.delete(f"/api/v1/clients/{made['client_id']}").status_code == 204
    assert httpx.get(f"{pair.services.url}{CALL}", headers=bearer).status_code == 401
    own_redis_server.forget()
    assert httpx.get(f"{pair.services.url}{CALL}", headers=bearer).status_code == 401
