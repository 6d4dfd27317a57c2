"""The real command in real processes: one server a folder, an orderly end, and a start after any end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.engines import processes

PASSWORD = "canary-horse-7f3a9"
URL = re.compile(r"Vantage listens on (\S+)")
LINK = re.compile(r"(http://\S+/login)#(\S+)")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "services.main", *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    fixed = {"VANTAGE_DATA_DIR": str(folder), "VANTAGE_METRICS_PORT": "0"}
    return {**fixed, "PYTHONDONTWRITEBYTECODE": "", **more}  # compiled once, not at every start


def once(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments),
        env={**os.environ, **environment(folder, **more)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@dataclass
class Server:
    """A running `vantage up`."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        found = URL.search(self.said)
        assert found
        return found[1]

    def socket_client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.folder / "run" / "api.sock"))
        return httpx.Client(transport=transport, base_url="http://vantage", timeout=10)


def start(folder: Path, *arguments: str, **more: str) -> Server:
    log = folder.with_suffix(".log")
    log.write_text("")
    arguments = arguments or ("run", "gateway", "notifier", "--port", "0")
    process = processes.spawn(command(*arguments), log=log, environment=environment(folder, **more))
    server = Server(process, folder, log)
    processes.wait_until(
        lambda: URL.search(server.said) is not None, seconds=60, process=process, log=log
    )
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("house") / "data"
    found = start(folder, VANTAGE_ADMIN_PASSWORD=PASSWORD, VANTAGE_LOG_LEVEL="DEBUG")
    yield found
    processes.end(found.process)


def test_a_second_server_on_the_same_folder_is_refused_with_the_remedy(server: Server) -> None:
    ended = once(server.folder, "up", "--port", "0")
    assert ended.returncode == 2
    assert str(server.folder) in ended.stderr
    assert str(server.process.pid) in ended.stderr
    assert "--data-dir" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert httpx.get(f"{server.url}/ready").status_code == 200


def test_a_taken_port_is_an_error_with_the_remedy(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    ended = once(tmp_path / "other", "run", "gateway", "--port", port)
    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"VANTAGE_HOST": "0.0.0.0"}, "VANTAGE_INSECURE_BIND"),  # noqa: S104 - it is refused
        ({"VANTAGE_BUS_URL": "amqp://host"}, "VANTAGE_BUS_URL"),
        ({"VANTAGE_NOTIFIER_TIMEOUT": "-1"}, "VANTAGE_NOTIFIER_TIMEOUT"),
        ({"VANTAGE_CACHE_URL": f"redis://:{PASSWORD}@127.0.0.1:1"}, "Start it"),
        ({"VANTAGE_BLOB_URL": "s3://b", "VANTAGE_S3_ACCESS_KEY": PASSWORD}, "set both"),
    ],
)
def test_a_wrong_setting_is_an_error_without_a_traceback(
    tmp_path: Path, more: dict[str, str], said: str
) -> None:
    given = {"VANTAGE_PORT": "0", **more}
    ended = once(tmp_path / "data", "run", "notifier", **given)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert PASSWORD not in ended.stderr


def test_the_owners_socket_is_the_owners_alone_and_serves_as_admin(server: Server) -> None:
    path = server.folder / "run" / "api.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with server.socket_client() as client:
        assert client.get("/api/v1/me").json()["kind"] == "owner"


def test_metrics_stand_on_a_second_listener_and_not_on_the_first(server: Server) -> None:
    assert httpx.get(f"{server.url}/metrics").status_code == 404
    found = [
        address.port
        for address in listening(server.process.pid)
        if address.port != int(server.url.rpartition(":")[2])
    ]
    (port,) = found
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "vantage_http_requests_total" in text
    assert "process_resident_memory_bytes" in text
    assert httpx.get(f"http://127.0.0.1:{port}/api/v1/me").status_code == 404


@dataclass(frozen=True)
class Address:
    host: str
    port: int


def listening(pid: int) -> list[Address]:
    import psutil

    found = psutil.Process(pid).net_connections(kind="tcp")
    return [Address(*one.laddr) for one in found if one.status == psutil.CONN_LISTEN]


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert {address.host for address in listening(server.process.pid)} == {"127.0.0.1"}


def test_signing_in_by_password_works_and_no_secret_is_logged(server: Server) -> None:
    with httpx.Client(base_url=server.url) as browser:
        body = {"name": "admin", "password": PASSWORD}
        assert browser.post("/api/v1/sessions", json=body).status_code == 201
        access = browser.cookies["vantage_access"]
        wrong = {"name": "admin", "password": f"{PASSWORD}-wrong"}
        assert browser.post("/api/v1/sessions", json=wrong).status_code == 401
        headers = {"authorization": f"Bearer {access}"}
        assert browser.get("/api/v1/users", headers=headers).status_code == 200
        for path in (f"/nowhere?token={access}", f"/login?password={PASSWORD}"):
            browser.get(path, headers=headers)
    lines = [line for line in server.said.splitlines() if line.startswith("{")]
    assert any(json.loads(line)["event"] == "http_request" for line in lines)
    assert PASSWORD not in server.said
    assert access not in server.said
    assert access.rpartition(".")[2] not in server.said


def test_bad_bytes_get_a_bad_request_and_harm_nobody(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    for sent in (
        b"\x16\x03\x01\x00\xa5",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            answer = raw.recv(100)
        assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.1 2"))
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_commands_reach_the_running_server_and_work_without_one(server: Server) -> None:
    beside = once(server.folder, "user", "list")
    assert (beside.returncode, "admin" in beside.stdout) == (0, True)


def test_sigterm_ends_it_in_good_order_and_it_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = start(folder)
    secret = LINK.search(first.said)
    assert secret
    with httpx.Client(base_url=first.url) as browser:
        body = {"secret": secret[2]}
        assert browser.post("/api/v1/sessions", json=body).status_code == 201
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(10) == 0
    assert not (folder / "run" / "api.sock").exists()
    assert "Traceback" not in first.said
    assert first.said.count(secret[2]) == 1
    alone = once(folder, "user", "list")
    assert (alone.returncode, "admin" in alone.stdout, alone.stderr) == (0, True, "")


def test_after_kill_9_it_starts_again_on_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = start(folder)
    with first.socket_client() as client:
        made = client.post("/api/v1/users", json={"name": "bob"})
        assert made.status_code == 201
    processes.kill(first.process)
    assert (folder / "run" / "api.sock").exists()
    second = start(folder)
    try:
        with second.socket_client() as client:
            names = [user["name"] for user in client.get("/api/v1/users").json()["items"]]
        assert names == ["admin", "bob"]
    finally:
        processes.end(second.process)
    assert second.process.returncode == 0


def test_config_show_tells_every_value_with_its_origin(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "vantage.toml").write_text('log_level = "WARNING"\n[notifier]\ntimeout = 3\n')
    secrets = {
        "VANTAGE_ADMIN_PASSWORD": PASSWORD,
        "VANTAGE_CACHE_URL": f"rediss://:{PASSWORD}@cache:6380/1",
        "VANTAGE_S3_SECRET_KEY": PASSWORD,
    }
    shown = once(folder, "config", "show", **secrets)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"VANTAGE_LOG_LEVEL +WARNING +file .*vantage.toml", shown.stdout)
    assert re.search(r"VANTAGE_NOTIFIER_TIMEOUT +3.0 +file", shown.stdout)
    assert re.search(r"VANTAGE_ADMIN_PASSWORD +\*+ +environment", shown.stdout)
    assert re.search(r"VANTAGE_S3_SECRET_KEY +\*+ +environment", shown.stdout)
    assert re.search(r"VANTAGE_CACHE_URL +rediss://:\*+@cache:6380/1 +environment", shown.stdout)
    assert PASSWORD not in shown.stdout


def test_an_unknown_key_in_the_file_names_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "vantage.toml").write_text("prot = 1\n")
    ended = once(folder, "config", "show")
    assert (ended.returncode, "did you mean port" in ended.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [("run", "nothing"), ("nothing",)])
def test_an_unknown_name_is_an_error_without_a_traceback(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ended = once(tmp_path / "data", *arguments)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "nothing" in ended.stderr
