"""A webhook receiver in the test's own process: it outlives the servers that are killed."""

import json
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.engines.listener import Listener


class Receiver(Listener):
    """Takes every webhook. `ids` are the distinct webhook-ids that came for each alert; `came` counts all."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"{self.origin}/alerts"
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.bodies: list[dict[str, Any]] = []
        self.sends: Counter[str] = Counter()  # by webhook-id, repetitions among them
        self.held = (
            threading.Event()
        )  # one has come and waits for its answer, since it was asked for
        self._hold = threading.Event()
        self._answer = threading.Event()

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """See `Listener.serve`."""
        self.take(request.headers["webhook-id"], json.loads(body))
        with suppress(ConnectionError):  # the sender was killed meanwhile
            request.send_response(204)
            request.end_headers()
            request.wfile.flush()

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
