"""The fault proxy itself: what it promises about bytes, time and ends."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import FaultProxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while piece := self.request.recv(65_536):
            self.request.sendall(piece)


@pytest.fixture
def link() -> Iterator[FaultProxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with FaultProxy("127.0.0.1", server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


def called(link: FaultProxy) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", link.port), timeout=20)
    made.settimeout(20)
    return made


def answer(made: socket.socket, sent: bytes) -> bytes:
    made.sendall(sent)
    came = b""
    while len(came) < len(sent):
        piece = made.recv(65_536)
        if not piece:
            break
        came += piece
    return came


def test_bytes_pass_unchanged_and_in_order(link: FaultProxy) -> None:
    with called(link) as made:
        sent = bytes(range(256)) * 2000
        threading.Thread(target=made.sendall, args=(sent,)).start()
        assert answer(made, b"") == b""
        came = b""
        while len(came) < len(sent):
            came += made.recv(65_536)
        assert came == sent


def test_latency_delays_each_way(link: FaultProxy) -> None:
    link.set(latency_s=0.2)
    with called(link) as made:
        started = time.monotonic()
        assert answer(made, b"hello") == b"hello"
        assert time.monotonic() - started >= 0.4


def test_a_trickle_gives_so_many_bytes_a_second(link: FaultProxy) -> None:
    link.set(bytes_per_s=1000)
    with called(link) as made:
        started = time.monotonic()
        assert answer(made, b"x" * 500) == b"x" * 500
        assert time.monotonic() - started >= 0.4


def test_in_a_black_hole_nothing_passes_until_it_is_healed(link: FaultProxy) -> None:
    with called(link) as made:
        assert answer(made, b"before") == b"before"
        link.set(black_hole=True)
        made.sendall(b"into the hole")
        made.settimeout(0.3)
        with pytest.raises(TimeoutError):
            made.recv(100)
        made.settimeout(20)
        link.heal()
        assert made.recv(100) == b"into the hole"


def test_resets_refusals_and_cuts_end_connections(link: FaultProxy) -> None:
    with called(link) as standing:
        assert answer(standing, b"here") == b"here"
        link.cut()
        with pytest.raises(ConnectionResetError):
            standing.recv(100)
    link.set(resets=1.0)
    with called(link) as made:
        made.sendall(b"gone")
        with pytest.raises(ConnectionResetError):
            made.recv(100)
    link.set(refused=True)
    # The reset may come before `connect` has returned.
    with pytest.raises(ConnectionResetError), called(link) as made:
        made.recv(100)
