"""How commands reach the API: a named server first, then the owner's socket, then the service itself for one call."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from shared.client import Connector, listens, parsed
from shared.errors import (
    Conflict,
    Invalid,
    NotFound,
    Setup,
    TooMany,
    Unauthenticated,
    Unavailable,
    VantageError,
)
from shared.http import Application
from shared.runtime.lock import lock_folder
from shared.settings import PlatformSettings
from tests.unit.platform import toys


def connector(tmp_path: Path, **settings: Any) -> Connector:
    def serve(names: Sequence[str]) -> Application:
        assert names == ("toy",)
        return toys.app_of(tmp_path)

    given = {"bus_url": "memory://", "data_dir": tmp_path / "data", **settings}
    return Connector(PlatformSettings(**given), serve)


def test_without_a_server_the_service_is_started_for_the_call(tmp_path: Path) -> None:
    with connector(tmp_path).api("toy") as api:
        assert api.get("/toy/read") == {"subject": "owner", "kind": "owner"}
        assert api.post("/toy/write", {"name": "x"}) == {"name": "x", "by": "owner"}
    with connector(tmp_path).api("toy") as api:
        assert api.get("/toy") == {"toy": "yes"}


def test_a_folder_that_another_server_holds_is_left_alone(tmp_path: Path) -> None:
    held = lock_folder(tmp_path / "data", ["toy"], alone=True)
    with held, pytest.raises(Setup, match="already running"), connector(tmp_path).api("toy"):
        pass


def test_problems_come_out_as_our_errors(tmp_path: Path) -> None:
    with connector(tmp_path).api("toy") as api:
        with pytest.raises(NotFound, match="no camera x"):
            api.get("/toy/errors/missing")
        with pytest.raises(Invalid, match="name: is empty"):
            api.get("/toy/errors/invalid")
        with pytest.raises(VantageError):
            api.get("/toy/errors/unforeseen")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthenticated), (409, Conflict), (422, Invalid), (429, TooMany), (503, Unavailable)],
)
def test_a_status_says_which_error_it_is(status: int, kind: type[VantageError]) -> None:
    with pytest.raises(kind, match="because"):
        parsed(httpx.Response(status, json={"detail": "because"}))


def test_an_answer_that_is_no_problem_is_told_by_its_status() -> None:
    with pytest.raises(VantageError, match="502"):
        parsed(httpx.Response(502, text="<html>bad gateway</html>"))


class Elsewhere(BaseHTTPRequestHandler):
    """A server that says what it was sent."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "token": self.headers["authorization"]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_named_server_goes_before_all(tmp_path: Path, elsewhere: str) -> None:
    named = connector(tmp_path, url=elsewhere, token=SecretStr("abc"))
    with named.api("toy") as api:
        found = api.get("/x", camera="door", zone=None)
    assert found == {"path": "/x?camera=door", "token": "Bearer abc"}


def test_a_named_server_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    away = connector(tmp_path, url="http://127.0.0.1:9")
    with away.api("toy") as api, pytest.raises(Unavailable, match="does not answer"):
        api.get("/x")


def test_a_socket_nobody_listens_on_is_no_server(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "api.sock"
    assert not listens(path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert not listens(path)
