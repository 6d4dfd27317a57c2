"""A webhook receiver in the test's own process: it outlives the servers that are killed."""

import json
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Takes every webhook. `ids` are the distinct webhook-ids that came for each alert; `came` counts all."""

    def __init__(self) -> None:
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.bodies: list[dict[str, Any]] = []
        self.sends: Counter[str] = Counter()  # by webhook-id, repetitions among them
        self.held = (
            threading.Event()
        )  # one has come and waits for its answer, since it was asked for
        self._hold = threading.Event()
        self._answer = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.take(self.headers["webhook-id"], body)
                with suppress(ConnectionError):  # the sender was killed meanwhile
                    self.send_response(204)
                    self.end_headers()
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def take(self, identity: str, body: dict[str, Any]) -> None:
        """One message has come."""
        self.bodies.append(body)
        self.sends[identity] += 1
        self.ids[body["data"]["alert"]].add(identity)
        if self._hold.is_set():
            self._hold.clear()
            self.held.set()
            self._answer.wait(60)

    def hold(self) -> None:
        """Let the next message wait for its answer; `held` is set when it has come."""
        self._hold.set()

    def answer(self) -> None:
        """Answer what is held."""
        self._answer.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
