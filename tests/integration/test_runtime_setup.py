"""What is missing or wrong around a process is said at its start, with the remedy; nothing is left half started."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from services import main
from shared import telemetry
from shared.security.scopes import ROLES
from tests.engines import processes
from tests.integration.test_runtime_process import once, start

Run = Callable[..., None]
BOUND_S = 120.0  # generous: what is refused is refused in seconds, on a machine that others use too


def refused(folder: Path, *arguments: str, said: str, **more: str) -> str:
    """Run a command that must end by itself with exit code 2 and these words."""
    ended = once(folder, *arguments, **more)
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def nowhere() -> str:
    return f"127.0.0.1:{processes.free_port()}"


def test_a_bus_that_is_not_there(tmp_path: Path) -> None:
    more = {"VANTAGE_BUS_URL": f"kafka://{nowhere()}", "VANTAGE_PORT": "0"}
    refused(tmp_path / "data", "run", "vms", said="VANTAGE_BUS_URL", **more)


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://me:canary-word@{nowhere()}/vantage"
    more = {"VANTAGE_DB_URL": url, "VANTAGE_PORT": "0"}
    text = refused(tmp_path / "data", "run", "vms", said="VANTAGE_DB_URL", **more)
    assert "canary-word" not in text


def test_a_client_that_the_gateway_does_not_know(tmp_path: Path) -> None:
    gateway = start(tmp_path / "gateway", "run", "gateway", "--port", "0")
    try:
        more = {
            "VANTAGE_PORT": "0",
            "VANTAGE_GATEWAY_URL": gateway.url,
            "VANTAGE_CLIENT_ID": "somebody",
            "VANTAGE_CLIENT_SECRET": "canary-word",
            "VANTAGE_MASTER_KEY": (gateway.folder / "keys" / "master.key").read_text().strip(),
        }
        text = refused(tmp_path / "data", "run", "notifier", said="VANTAGE_CLIENT_ID", **more)
        assert "vantage client add" in text
        assert "canary-word" not in text
        with gateway.socket_client() as owner:
            body = {"name": "notifier", "scopes": sorted(ROLES["viewer"])}
            made = owner.post("/api/v1/clients", json=body).json()
        more |= {
            "VANTAGE_CLIENT_ID": made["client_id"],
            "VANTAGE_CLIENT_SECRET": made["client_secret"],
        }
        welcome = start(tmp_path / "data", "run", "notifier", **more)
        processes.end(welcome.process)
    finally:
        processes.end(gateway.process)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`vantage up` in this process, as far as it comes."""
    monkeypatch.setattr(telemetry, "configure", lambda **_: None)

    def run(*arguments: str, said: str, **more: str) -> None:
        environment = {"VANTAGE_DATA_DIR": str(tmp_path / "data"), **more}
        ended = CliRunner().invoke(main.app, ["up", *arguments], env=environment)
        assert ended.exit_code == 2, ended.output
        assert said in ended.output

    return run


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        (("--replicas", "vms=2"), {}, "--engines"),
        (("--engines", "--replicas", "nobody=2"), {}, "nobody"),
        (("--engines",), {"VANTAGE_BUS_URL": "sqlite://"}, "VANTAGE_BUS_URL"),
        (("--engines",), {"PATH": "/nowhere"}, "make engines"),
    ],
)
def test_a_house_that_cannot_be(
    house: Run, arguments: tuple[str, ...], more: dict[str, str], said: str
) -> None:
    house("--port", "0", *arguments, said=said, **more)


def test_a_house_whose_port_is_taken(house: Run, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        house("--engines", "--port", port, said=f"port {port}")
    assert not (tmp_path / "data" / "engines").exists()


def test_a_house_whose_processes_cannot_start_ends_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    more = {
        "VANTAGE_BUS_URL": f"kafka://{nowhere()}",
        "VANTAGE_DB_URL": "sqlite+aiosqlite://",
        "VANTAGE_PORT": "0",
    }
    began = time.monotonic()
    refused(folder, "up", "--engines", said="no Kafka broker can be used", **more)
    assert time.monotonic() - began < BOUND_S
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("VANTAGE_DATA_DIR") == str(folder)
    ]
    assert left == []
