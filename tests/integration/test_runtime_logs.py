"""Logs of a running server: a file of its own, found by correlation, and a level that is set while it runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines import processes
from tests.integration.test_runtime_process import Server, once, start

PASSWORD = "canary-horse-7f3a9"
FILE = "gateway+notifier-main.jsonl"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("house") / "data"
    found = start(folder, VANTAGE_ADMIN_PASSWORD=PASSWORD)
    yield found
    processes.end(found.process)


def lines(server: Server, *arguments: str) -> list[dict[str, str]]:
    found = once(server.folder, "logs", *arguments)
    assert (found.returncode, found.stderr) == (0, "")
    return [json.loads(line) for line in found.stdout.splitlines()]


def ask(server: Server, identity: str) -> int:
    headers = {"X-Request-ID": identity}
    return httpx.get(f"{server.url}/api/v1/me", headers=headers).status_code


def test_the_level_is_set_while_it_runs_and_a_call_is_found_by_its_id(server: Server) -> None:
    ask(server, "order-1")
    assert lines(server, "--correlation", "order-1") == []
    louder = once(server.folder, "logs", "level", "debug", "--service", "notifier")
    assert louder.stdout == "gateway, notifier: INFO -> DEBUG\n"
    ask(server, "order-2")
    (line,) = lines(server, "--correlation", "order-2")
    assert (line["event"], line["level"], line["process"]) == (
        "http_request",
        "debug",
        "gateway+notifier",
    )
    assert lines(server, "--correlation", "order-2", "--level", "info") == []
    once(server.folder, "logs", "level", "ERROR")
    ask(server, "order-3")
    assert lines(server, "--correlation", "order-3") == []
    changes = [one for one in lines(server) if one["event"] == "log_level_changed"]
    assert [one["before"] for one in changes] == ["INFO", "DEBUG"]
    assert [one["now"] for one in changes] == ["DEBUG", "ERROR"]
    assert {one["by"] for one in changes} == {"owner"}


def test_a_change_over_the_network_needs_its_scope(server: Server) -> None:
    with httpx.Client(base_url=server.url) as browser:
        assert browser.put("/log-level", json={"level": "DEBUG"}).status_code == 401
    with server.socket_client() as owner:
        assert owner.put("/log-level", json={"level": "LOUD"}).status_code == 422


def test_no_process_of_that_service_is_an_error_with_the_reason(
    server: Server, tmp_path: Path
) -> None:
    for folder, more in ((server.folder, ("--service", "vms")), (tmp_path / "none", ())):
        ended = once(folder, "logs", "level", "DEBUG", *more)
        assert ended.returncode == 2
        assert f"is running on the data folder {folder}" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("--level", "loud"), ("--since", "yesterday")])
def test_a_wrong_option_is_an_error_without_a_traceback(
    server: Server, arguments: tuple[str, ...]
) -> None:
    ended = once(server.folder, "logs", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert arguments[1] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_file_is_its_owners_alone_and_holds_no_secret(server: Server) -> None:
    path = server.folder / "logs" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in path.read_text()


def test_a_server_may_do_without_a_file(tmp_path: Path) -> None:
    server = start(tmp_path / "data", "run", "notifier", "--port", "0", VANTAGE_LOG_FILES="0")
    processes.end(server.process)
    assert not (tmp_path / "data" / "logs").exists()
