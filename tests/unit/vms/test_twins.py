"""One device under two spellings: told to whoever adds the second, and refused only where the URL is the same."""

import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner

from services.main import app
from shared.clock import ManualClock
from tests.unit.vms.conftest import Rig, opened

NETS = ["127.0.0.0/8", "::1/128"]


@pytest.fixture
async def rig(data_dir: Path, clock: ManualClock) -> AsyncIterator[Rig]:
    async with opened(data_dir, clock, NETS) as made:
        yield made


@pytest.mark.parametrize(
    "second",
    [
        "rtsp://127.0.0.1/door",
        "rtsp://127.0.0.1:554/door/",
        "rtsp://guard:secret@127.0.0.1/door",
        "rtsp://0x7f000001/x/../door",
    ],
)
async def test_by_name_and_by_address_is_one_device(
    rig: Rig, second: str, loop_guard: BlockBuster
) -> None:
    first = await rig.add("Door", url="rtsp://admin:secret@localhost/door")
    assert "warnings" not in first
    answer = await rig.api.post("/api/v1/cameras", json={"name": "Again", "url": second})
    assert answer.status_code == 201, answer.text
    (told,) = answer.json()["warnings"]
    assert "the camera 'Door' (id door, rtsp://localhost/door)" in told
    assert "secret" not in told
    assert "warnings" not in (await rig.api.get("/api/v1/cameras/again")).json()


async def test_the_other_way_round_and_at_a_change(rig: Rig) -> None:
    await rig.add("Door", url="rtsp://127.0.0.1/door")
    other = await rig.add("Other", url="rtsp://127.0.0.1/other")
    assert "warnings" not in other
    body = {"url": "rtsp://localhost/door"}
    changed = (await rig.api.patch("/api/v1/cameras/other", json=body)).json()
    assert "'Door'" in changed["warnings"][0]
    named = (await rig.api.patch("/api/v1/cameras/other", json={"enabled": False})).json()
    assert "warnings" not in named


@pytest.mark.parametrize(
    "second",
    [
        "rtsp://127.0.0.1/other",  # another stream of the same device
        "rtsp://127.0.0.1/door?channel=2",
        "rtsp://127.0.0.1:8554/door",
        "rtsp://127.0.0.2/door",
        "file:///videos/door",
    ],
)
async def test_what_is_another_stream_or_device_is_not_warned_of(rig: Rig, second: str) -> None:
    await rig.add("Door", url="rtsp://localhost/door")
    assert "warnings" not in await rig.add("Second", url=second)


async def test_names_that_nobody_answers_for_hold_nobody_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, loop_guard: BlockBuster
) -> None:
    real = socket.getaddrinfo

    def at_first(host: str, port: int, *more: Any, **by_name: Any) -> Any:
        return real("127.0.0.9" if host.endswith(".test") else host, port, *more, **by_name)

    def later(host: str, port: int, *more: Any, **by_name: Any) -> Any:
        if host.endswith(".test"):
            time.sleep(2.5)
        return real(host, port, *more, **by_name)

    monkeypatch.setattr(socket, "getaddrinfo", at_first)
    for number in range(3):
        await rig.add(f"Silent {number}", url=f"rtsp://silent-{number}.test/door")
    monkeypatch.setattr(socket, "getaddrinfo", later)
    began = time.monotonic()
    assert "warnings" not in await rig.add("Door", url="rtsp://127.0.0.9/door")
    assert time.monotonic() - began < 2


def test_the_command_says_it_on_standard_error(data_dir: Path) -> None:
    environment = {"VANTAGE_DATA_DIR": str(data_dir), "VANTAGE_CAMERA_NETS": ",".join(NETS)}
    said = []
    for name, host in (("Door", "localhost"), ("Again", "127.0.0.1")):
        arguments = ["camera", "add", name, f"rtsp://{host}/door", "--no-test", "--no-rule"]
        done = CliRunner().invoke(app, arguments, env=environment)
        assert done.exit_code == 0, done.output
        said.append(done.stderr)
    assert said[0] == ""
    assert "Warning: url: this is the device of the camera 'Door'" in said[1]
