"""The secret hunt: what was given in secret is found nowhere in clear, in the whole house at work."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.engines import processes
from tests.integration.test_runtime_process import Server, listening, start

CAMERA = "canary-camera-51fe"
ADMIN = "canary-admin-9a1c"
WEBHOOK = "Y2FuYXJ5LXdlYmhvb2stMjM0NTY3ODkwYWJjZGVmZ2g="  # as a receiver would have it
CANARIES = (CAMERA, ADMIN, WEBHOOK)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Server]:
    server = start(
        tmp_path / "data",
        *("up", "--port", "0"),
        VANTAGE_ADMIN_PASSWORD=ADMIN,
        VANTAGE_CAMERA_NETS="127.0.0.0/8",
        VANTAGE_WEBHOOK_NETS="127.0.0.0/8",
        VANTAGE_LOG_LEVEL="DEBUG",
    )
    yield server
    processes.end(server.process)


def furnish(owner: httpx.Client) -> str:
    """A camera nobody answers for and a webhook nobody listens at, each with its secret."""
    port = processes.free_port()
    camera = owner.post(
        "/api/v1/cameras",
        json={"name": "gate", "url": f"rtsp://admin:{CAMERA}@127.0.0.1:{port}/live"},
    )
    assert camera.status_code == 201, camera.text
    hook = {"name": "hook", "url": f"http://127.0.0.1:{port}/", "secret": f"whsec_{WEBHOOK}"}
    channel = owner.post("/api/v1/channels", json=hook)
    assert channel.status_code == 201, channel.text
    owner.post("/api/v1/channels/hook/test")
    identity = str(camera.json()["id"])
    owner.patch(f"/api/v1/cameras/{identity}", json={"name": "gate two"})
    return identity


def tried(owner: httpx.Client) -> bool:
    """Whether the camera was tried and did not answer."""
    states: Any = owner.get("/api/v1/camera-status").json()["items"]
    return any(one["state"] in ("retrying", "offline", "error") for one in states)


def crawl(owner: httpx.Client, camera: str) -> Iterator[tuple[str, str]]:
    """Every GET of the API that needs no more than this camera's or that channel's id."""
    for path, item in owner.get("/openapi.json").json()["paths"].items():
        place = re.sub(r"\{[^}]*\}", "hook" if "channel" in path else camera, path)
        if "get" in item and "/live" not in path:
            yield path, owner.get(place).text
    yield "/nowhere", owner.get(f"/nowhere?token={CAMERA}").text


def at_rest(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


def test_no_secret_is_found_anywhere_in_clear(house: Server) -> None:
    with house.socket_client() as owner:
        camera = furnish(owner)
        deadline = time.monotonic() + 40
        while not tried(owner):
            assert time.monotonic() < deadline, house.said[-3000:]
            time.sleep(0.2)
        found = dict(crawl(owner, camera))
    assert len(found) > 15
    process = psutil.Process(house.process.pid)
    for port in {address.port for address in listening(process.pid)}:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        found[f"metrics of {port}"] = answer.text
    found["processes"] = str([one.cmdline() for one in (process, *process.children(True))])
    found["log"] = house.said
    leaks = [(where, one) for where, text in found.items() for one in CANARIES if one in text]
    assert leaks == []
    files = dict(at_rest(house.folder))
    assert any(name.endswith("vms.db") for name in files)
    kept = [(name, one) for name, data in files.items() for one in CANARIES if one.encode() in data]
    assert kept == []
