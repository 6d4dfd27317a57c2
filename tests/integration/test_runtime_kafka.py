"""Separate processes over a real Kafka broker on one data folder: what one says the others hear."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from shared.sim.scene import Scene
from tests.engines import processes
from tests.engines.kafka import KafkaBroker
from tests.integration.test_runtime_process import Server, once, start

SCENE = Scene(seed=7, duration_s=60)
pytestmark = pytest.mark.kafka


@pytest.fixture
def gateway(tmp_path: Path, kafka_broker: KafkaBroker) -> Iterator[Server]:
    """A gateway, and behind it, each in a process of its own, the cameras' keeper and the rules' keeper."""
    ports = {name: processes.free_port() for name in ("vms", "orchestrator")}
    shared = {
        "VANTAGE_BUS_URL": kafka_broker.url,
        "VANTAGE_DATA_DIR": str(tmp_path / "data"),
    }
    upstreams = ",".join(f"http://127.0.0.1:{port}" for port in ports.values())
    with ExitStack() as stack:
        for name, port in ports.items():
            server = start(tmp_path / name, "run", name, "--port", str(port), **shared)
            stack.callback(processes.end, server.process)
        door = start(
            tmp_path / "data",
            *("run", "gateway", "--port", "0"),
            **shared,
            VANTAGE_GATEWAY_UPSTREAMS=upstreams,
        )
        stack.callback(processes.end, door.process)
        yield door


def until(answer: Any, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_camera_told_to_one_process_is_known_to_another(
    gateway: Server, tmp_path: Path, kafka_broker: KafkaBroker
) -> None:
    with gateway.socket_client() as owner:
        until(lambda: owner.get("/api/v1/rules").status_code == 200)
        until(lambda: owner.get("/api/v1/cameras").status_code == 200)
        rule = SCENE.rules("yard")[1]
        assert not fits(owner, rule)
        zones = [msgspec.to_builtins(zone) for zone in SCENE.zones]
        body = {"name": "yard", "url": "sim://demo?seed=7", "zones": zones}
        made = owner.post("/api/v1/cameras", json=body)
        assert made.status_code == 201, made.text
        until(lambda: fits(owner, rule))
        until(lambda: audited(owner, "camera.added"))
    tools_reach_every_process(tmp_path / "data", kafka_broker.url)
    same = once(tmp_path / "data", "run", "vms", "--port", "0", VANTAGE_BUS_URL=kafka_broker.url)
    assert (same.returncode, "VANTAGE_INSTANCE" in same.stderr) == (2, True)


def audited(owner: httpx.Client, action: str) -> bool:
    """Whether the gateway has chained what another process did."""
    items = owner.get("/api/v1/audit", params={"action": action}).json()["items"]
    return [(one["actor"], one["object"]) for one in items] == [("owner", "camera:yard")]


def tools_reach_every_process(folder: Path, bus: str) -> None:
    listed = once(folder, "consumers", "list", VANTAGE_BUS_URL=bus)
    names = {json.loads(line)["name"] for line in listed.stdout.splitlines()}
    assert names >= {"gateway.gateway-audit.0", "vms.vms-tracks.1", "orchestrator.orchestrator.0"}
    again = once(folder, "replay", "--group", "gateway-audit", "--yes", VANTAGE_BUS_URL=bus)
    assert again.returncode == 0, again.stderr
    assert "gateway-audit hears" in again.stdout
    holds = once(folder, "audit", "verify", VANTAGE_BUS_URL=bus)
    assert (holds.returncode, "entries hold" in holds.stdout) == (0, True), holds.stderr


def fits(owner: httpx.Client, rule: dict[str, object]) -> bool:
    """Whether the rules' keeper knows the camera and the zone that the rule speaks of."""
    answer = owner.post("/api/v1/rules/lint", json={"documents": [rule]})
    assert answer.status_code == 200, answer.text
    return "there is no such camera" not in answer.text
