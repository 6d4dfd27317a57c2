"""A gateway in a process of its own before services in another: the same doors, HTTP and WebSocket."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from shared.security.scopes import ROLES
from tests.engines import processes
from tests.integration.test_runtime_process import Server, start

PASSWORD = "correct horse"


@dataclass
class Pair:
    """Two processes that know each other by address alone."""

    gateway: Server
    services: Server

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.gateway.url, timeout=10)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        body = {"name": "admin", "password": PASSWORD}
        with self.browser() as browser:
            assert browser.post("/api/v1/sessions", json=body).status_code == 201
            yield browser


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from started(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """For a test that kills it."""
    yield from started(tmp_path)


def started(folder: Path, **both: str) -> Iterator[Pair]:
    """Two processes; `both` are settings of each."""
    port = processes.free_port()
    gateway = start(
        folder / "gateway",
        *("run", "gateway", "--port", "0"),
        VANTAGE_GATEWAY_UPSTREAMS=f"http://127.0.0.1:{port}",
        VANTAGE_ADMIN_PASSWORD=PASSWORD,
        **both,
    )
    try:
        services = start(
            folder / "services",
            *("run", "notifier", "dashboard", "--port", str(port)),
            **credentials(gateway),
            **both,
        )
        try:
            until_known(gateway)
            yield Pair(gateway, services)
        finally:
            processes.end(services.process)
    finally:
        processes.end(gateway.process)


def credentials(gateway: Server) -> dict[str, str]:
    with gateway.socket_client() as owner:
        scopes = sorted(ROLES["service"])
        made = owner.post("/api/v1/clients", json={"name": "services", "scopes": scopes}).json()
    return {
        "VANTAGE_GATEWAY_URL": gateway.url,
        "VANTAGE_CLIENT_ID": made["client_id"],
        "VANTAGE_CLIENT_SECRET": made["client_secret"],
        "VANTAGE_MASTER_KEY": ",".join(
            (gateway.folder / "keys" / "master.key").read_text().split()
        ),
    }


def until_known(gateway: Server) -> None:
    deadline = time.monotonic() + 30
    while httpx.get(f"{gateway.url}/health").json()["status"] != "healthy":
        assert time.monotonic() < deadline, gateway.said
        time.sleep(0.1)


def test_calls_reach_the_service_that_has_the_way(pair: Pair) -> None:
    with pair.signed_in() as browser:
        csrf = {"X-CSRF-Token": browser.cookies["vantage_csrf"]}
        assert browser.get("/api/v1/channels").json()["items"][0]["name"] == "console"
        assert browser.head("/api/v1/channels").status_code in (200, 405)
        body = {"name": "hook", "url": "https://127.0.0.1/hook"}
        refused = browser.post("/api/v1/channels", json=body, headers=csrf)
        assert (refused.status_code, "VANTAGE_WEBHOOK_NETS" in refused.text) == (422, True)
        page = browser.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert len(page.headers.get_list("content-security-policy")) == 1
    assert len(page.headers.get_list("date")) == 1


def test_the_same_doors_hold_before_and_behind(pair: Pair) -> None:
    for base in (pair.gateway.url, pair.services.url):
        with httpx.Client(base_url=base) as stranger:
            assert stranger.get("/api/v1/channels").status_code == 401
            assert stranger.get("/ways").status_code == 401
    with pair.signed_in() as browser:
        assert browser.post("/api/v1/channels", json={}).status_code == 403
        assert browser.get("/nowhere").status_code == 404
        allowed = browser.request("PUT", "/api/v1/channels", headers=csrf_of(browser))
        assert (allowed.status_code, "POST" in allowed.headers["allow"]) == (405, True)
        token = browser.cookies["vantage_access"]
    behind = httpx.get(
        f"{pair.services.url}/api/v1/channels", headers={"authorization": f"Bearer {token}"}
    )
    assert behind.status_code == 200


def csrf_of(browser: httpx.Client) -> dict[str, str]:
    return {"X-CSRF-Token": browser.cookies["vantage_csrf"]}


def test_a_stranger_gets_the_public_files_and_nothing_else(pair: Pair) -> None:
    with pair.browser() as stranger:
        assert stranger.get("/console/console.css").status_code == 200
        led = stranger.get("/", headers={"accept": "text/html"})
        assert (led.status_code, led.headers["location"]) == (303, "/login?next=/")


def live(pair: Pair, **headers: str) -> str:
    """The first message of the live view through the gateway."""
    address = pair.gateway.url.replace("http", "ws") + "/api/v1/live"
    with connect(address, additional_headers=headers, proxy=None) as socket:
        message = socket.recv(timeout=10)
        return message if isinstance(message, str) else "picture"


def test_a_websocket_goes_through_for_our_own_page_alone(pair: Pair) -> None:
    with pair.signed_in() as browser:
        cookie = f"vantage_access={browser.cookies['vantage_access']}"
    assert json.loads(live(pair, Cookie=cookie, Origin=pair.gateway.url))
    for headers in ({}, {"Cookie": cookie}, {"Cookie": cookie, "Origin": "http://evil.test"}):
        with pytest.raises(InvalidStatus):
            live(pair, **headers)


def test_the_local_owner_reaches_services_in_other_processes(pair: Pair) -> None:
    with pair.gateway.socket_client() as owner:
        assert owner.get("/api/v1/channels").status_code == 200
    with pair.browser() as stranger:
        assert stranger.get("/api/v1/channels").status_code == 401


def test_a_way_to_another_process_that_lacks_a_scope_is_in_the_audit_trail(pair: Pair) -> None:
    with pair.gateway.socket_client() as owner:
        eve = {"name": "eve", "role": "viewer", "password": PASSWORD}
        made = owner.post("/api/v1/users", json=eve).json()
        with pair.browser() as browser:
            body = {"name": "eve", "password": PASSWORD}
            assert browser.post("/api/v1/sessions", json=body).status_code == 201
            for _ in range(3):
                refused = browser.delete("/api/v1/channels/none", headers=csrf_of(browser))
                assert refused.status_code == 403
        deadline = time.monotonic() + 30
        while not (
            found := owner.get(
                "/api/v1/audit", params={"actor": made["id"], "outcome": "refused"}
            ).json()["items"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (entry,) = found
        assert entry["object"] == "way:DELETE /api/v1/channels/{channel}"
        assert entry["reason"].startswith("lacks ")
        here = {"address": "127.0.0.1"}
        assert entry in owner.get("/api/v1/audit", params=here).json()["items"]


def test_one_document_describes_all(pair: Pair) -> None:
    with pair.gateway.socket_client() as owner:
        paths = owner.get("/openapi.json").json()["paths"]
    assert {"/api/v1/users", "/api/v1/channels", "/api/v1/deliveries"} <= set(paths)


def test_a_service_that_is_gone_is_unavailable_and_comes_back(own_pair: Pair) -> None:
    processes.kill(own_pair.services.process)
    with own_pair.signed_in() as browser:
        answer = browser.get("/api/v1/channels")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert browser.get("/api/v1/me").status_code == 200
        with own_pair.gateway.socket_client() as owner:
            (old,) = owner.get("/api/v1/clients").json()["items"]
            owner.delete(f"/api/v1/clients/{old['client_id']}")
        port = own_pair.services.url.rpartition(":")[2]
        again = start(
            own_pair.services.folder,
            *("run", "notifier", "dashboard", "--port", port),
            **credentials(own_pair.gateway),
        )
        try:
            assert browser.get("/api/v1/channels").status_code == 200
        finally:
            processes.end(again.process)
