"""Separate processes on Kafka, PostgreSQL and one data folder, started as docs/services.md says: each hears the others."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from shared.sim.scene import Scene
from tests.engines import processes
from tests.engines.folders import ROOT
from tests.engines.kafka import KafkaBroker
from tests.engines.postgres import PostgresServer
from tests.integration.test_runtime_process import Server, once, start

PASSWORD = "correct horse"
SCENE = Scene(seed=7, duration_s=60)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


class House(NamedTuple):
    """Processes as documented, by instance and service, and what they all were told."""

    servers: dict[str, Server]
    shared: dict[str, str]

    @property
    def gateway(self) -> Server:
        return self.servers["main gateway"]


def documented(
    elsewhere: dict[str, str],
) -> tuple[dict[str, str], list[tuple[dict[str, str], list[str]]]]:
    """The settings and commands of the document's example, its places exchanged for others."""
    (text,) = BLOCK.findall((ROOT / "docs" / "services.md").read_text())
    assert all(place in text for place in elsewhere)
    places = "|".join(map(re.escape, elsewhere))
    text = re.sub(rf"(?<!\d)({places})(?!\d)", lambda found: elsewhere[found[0]], text)
    lines = [shlex.split(line) for line in text.splitlines()]
    shared = dict(line[1].split("=", 1) for line in lines if line[0] == "export")
    commands = []
    for words in lines:
        if words[0] != "export":
            at = words.index("vantage")
            commands.append((dict(word.split("=", 1) for word in words[:at]), words[at + 1 :]))
    return shared, commands


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_broker: KafkaBroker,
    postgres_server: PostgresServer,
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("documented") / "data"
    database = postgres_server.new_database()
    elsewhere = {port: str(processes.free_port()) for port in ("8000", "8001", "8002", "8102")}
    elsewhere |= {
        "kafka://127.0.0.1:9092": kafka_broker.url,
        "postgresql+asyncpg://vantage:secret@127.0.0.1:5432/vantage": postgres_server.url(database),
        "/var/lib/vantage": str(folder),
    }
    shared, commands = documented(elsewhere)
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        stack.callback(postgres_server.drop_database, database)
        for own, arguments in commands:
            name = f"{own.get('VANTAGE_INSTANCE', 'main')} {arguments[1]}"
            log = folder.with_name(name.replace(" ", "-"))
            servers[name] = start(log, *arguments, **{**shared, **own})
            stack.callback(processes.end, servers[name].process)
        gateway = servers["main gateway"]
        yield House(
            {**servers, "main gateway": Server(gateway.process, folder, gateway.log)}, shared
        )


def until(answer: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_camera_told_to_one_process_is_known_to_all_others(house: House) -> None:
    with house.gateway.socket_client() as owner:
        until(lambda: owner.get("/health").json()["status"] == "healthy")
        rule = SCENE.rules("yard")[1]
        assert not any(fits(owner, rule) for _ in range(4))
        zones = [msgspec.to_builtins(zone) for zone in SCENE.zones]
        body = {"name": "yard", "url": "sim://demo?seed=7", "zones": zones}
        made = owner.post("/api/v1/cameras", json=body)
        assert made.status_code == 201, made.text
        until(lambda: all(fits(owner, rule) for _ in range(4)))  # the orchestrators in turn
        until(lambda: audited(owner, "camera.added"))


def test_the_tools_of_the_log_reach_every_process(house: House) -> None:
    folder, shared = house.gateway.folder, house.shared
    listed = once(folder, "consumers", "list", **shared)
    names = {json.loads(line)["name"] for line in listed.stdout.splitlines()}
    assert names >= {"gateway.gateway-audit.0", "vms.vms-tracks.1", "orchestrator.orchestrator.0"}
    again = once(folder, "replay", "--group", "gateway-audit", "--yes", **shared)
    assert again.returncode == 0, again.stderr
    assert "gateway-audit hears" in again.stdout
    holds = once(folder, "audit", "verify", **shared)
    assert (holds.returncode, "entries hold" in holds.stdout) == (0, True), holds.stderr


def audited(owner: httpx.Client, action: str) -> bool:
    """Whether the gateway has chained what another process did."""
    items = owner.get("/api/v1/audit", params={"action": action}).json()["items"]
    return [(one["actor"], one["object"]) for one in items] == [("owner", "camera:yard")]


def fits(owner: httpx.Client, rule: dict[str, object]) -> bool:
    """Whether the rules' keeper knows the camera and the zone that the rule speaks of."""
    answer = owner.post("/api/v1/rules/lint", json={"documents": [rule]})
    assert answer.status_code == 200, answer.text
    return "there is no such camera" not in answer.text


def test_a_name_is_taken_once_and_a_further_one_is_the_remedy(house: House) -> None:
    same = once(
        house.gateway.folder,
        *("run", "vms", "--port", "0"),
        **house.shared,
    )
    assert (same.returncode, "already running" in same.stderr) == (2, True)
    assert "VANTAGE_INSTANCE" in same.stderr


def test_who_signs_in_at_one_gateway_is_known_at_the_other(house: House, tmp_path: Path) -> None:
    port = processes.free_port()
    more = {**house.shared, "VANTAGE_INSTANCE": "two", "VANTAGE_ADMIN_PASSWORD": PASSWORD}
    second = start(tmp_path / "second", "run", "gateway", "--port", str(port), **more)
    try:
        with httpx.Client(timeout=30) as browser:
            here, there = f"http://127.0.0.1:{port}", house.shared["VANTAGE_PUBLIC_URL"]
            body = {"name": "admin", "password": PASSWORD}
            assert browser.post(f"{here}/api/v1/sessions", json=body).status_code == 201
            assert browser.get(f"{there}/api/v1/me").json()["name"] == "admin"
            csrf = {"X-CSRF-Token": browser.cookies["vantage_csrf"]}
            for place in (there, here, there):
                renewed = browser.post(f"{place}/api/v1/sessions/refresh", headers=csrf)
                assert renewed.is_success, renewed.text
        # Its socket is beside the first one's, and goes with it: commands go on finding the first.
        own = house.gateway.folder / "run" / "api.two.sock"
        assert own.exists()
    finally:
        processes.end(second.process)
    assert not own.exists()
    with house.gateway.socket_client() as owner:
        assert owner.get("/api/v1/me").json()["kind"] == "owner"
