"""The simulated yard on a server of the tests: put up, watched, held against its ground truth."""

from typing import Any

import msgspec

from shared.sim.scene import SECOND, Scene
from shared.sim.truth import Expected, Span
from tests.e2e.server import Server, eventually

SEED, FPS = 7, 5
YARD = "yard"
RULES_COUNT_FROM_S = 2.2


def put_up(server: Server, scene: Scene, webhook: str, *, options: str = "") -> None:
    """Camera, rules and a webhook; the camera is switched on when its rules already count."""
    length = scene.duration // SECOND
    server.call("POST", "/api/v1/channels", {"kind": "webhook", "name": "hook", "url": webhook})
    camera = server.call(
        "POST",
        "/api/v1/cameras",
        {
            "name": "Yard",
            "url": f"sim://demo?seed={SEED}&fps={FPS}&duration={length}{options}",
            "enabled": False,
            "zones": [msgspec.to_builtins(zone) for zone in scene.zones],
            "lines": [msgspec.to_builtins(line) for line in scene.lines],
            "detect": {"backend": "scripted", "model": f"sim?seed={SEED}&duration={length}"},
        },
    )
    effective = ""
    for rule in scene.rules(camera["id"]):
        effective = server.call("POST", "/api/v1/rules", {"document": rule})["effective_at"]
    eventually(lambda: server.call("GET", "/health")["timestamp"][:26] > effective[:26], seconds=10)
    server.call("PATCH", f"/api/v1/cameras/{camera['id']}", {"enabled": True})


def state(server: Server) -> str:
    """What the camera is doing."""
    items: list[dict[str, str]] = server.call("GET", "/api/v1/camera-status")["items"]
    return items[0]["state"] if items else ""


def position(server: Server) -> int:
    """The scene time that ingest has stored, in microseconds; -1 before the first."""
    return server.film_position(YARD)


def incidents(server: Server) -> list[dict[str, Any]]:
    """All incidents, oldest first."""
    return sorted(server.every("/api/v1/incidents"), key=lambda row: str(row["matched_at"]))


def told(expected: list[Expected]) -> list[str]:
    """The rules of the ground truth, sorted."""
    return sorted(f"{YARD}-{one.rule}" for one in expected)


def moments(spans: list[Span], count: int, *, margin: int = 2 * SECOND) -> list[int]:
    """So many scene times within the spans, evenly spread, none within `margin` of a span's end."""
    usable = [Span(s.start, s.end - margin) for s in spans if s.end - s.start > margin]
    total = sum(span.end - span.start for span in usable)
    found = []
    for number in range(count):
        left = total * (2 * number + 1) // (2 * count)
        for span in usable:
            if left < span.end - span.start:
                found.append(span.start + left)
                break
            left -= span.end - span.start
    return found
