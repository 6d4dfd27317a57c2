"""The simulated yard on a server of the tests: put up, watched, held against its ground truth."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from shared.sim.scene import DOOR, FENCE, GATE, SECOND, Scene
from shared.sim.truth import Expected, Span
from tests.e2e.server import Server, eventually

SEED, FPS = 7, 5
YARD, OVER = "yard", "over"
RULES_COUNT_FROM_S = 2.2


def put_up(
    server: Server, scene: Scene, webhook: str, *, options: str = "", street: Scene | None = None
) -> None:
    """Camera, rules and a webhook; the camera is switched on when its rules already count.

    With a `street` there is a second camera, and rules over both.
    """
    server.call("POST", "/api/v1/channels", {"kind": "webhook", "name": "hook", "url": webhook})
    cameras = [add(server, "Yard", scene, options)]
    rules = scene.rules(cameras[0])
    if street is not None:
        cameras.append(add(server, "Street", street, options))
        rules += over_both(*cameras)
    switch_on(server, cameras, rules)


def add(server: Server, name: str, scene: Scene, options: str = "") -> str:
    """A camera that shows the scene and is still switched off; its id."""
    sim = f"seed={scene.seed}&duration={scene.duration // SECOND}"
    body = {
        "name": name,
        "url": f"sim://demo?{sim}&fps={FPS}{options}",
        "enabled": False,
        "zones": [msgspec.to_builtins(zone) for zone in scene.zones],
        "lines": [msgspec.to_builtins(line) for line in scene.lines],
        "detect": {"backend": "scripted", "model": f"sim?{sim}"},
    }
    return str(server.call("POST", "/api/v1/cameras", body)["id"])


def over_both(first: str, second: str) -> list[dict[str, object]]:
    """Rules over two cameras in yards: a count, distinct things, and all, any and not with cameras of their own.

    The scenes of seeds 7 and 8 fulfil each of them within twenty seconds.
    """
    door, fence, gate = DOOR.name, FENCE.name, GATE.name
    enters = {"enter": {"camera": first, "zone": door}}
    stays_away = {"not": {"enter": {"camera": first, "zone": fence}}}
    was_there = {"enter": {"camera": second, "zone": fence, "within": "30s"}}
    distinct = {"of": {"enter": {"zone": door}}, "field": "camera", "within": "20s"}
    matches: dict[str, dict[str, object]] = {
        "two": {"count": {"across": "cameras", "op": ">=", "n": 2}},
        "both": {"distinct": {**distinct, "op": ">=", "n": 2}},
        "all": {"all": [enters, was_there]},
        "any": {"any": [{"cross": {"camera": one, "line": gate}} for one in (first, second)]},
        "not": {"all": [{"enter": {"camera": second, "zone": door}}, stays_away]},
    }
    return [
        {
            "id": f"{OVER}-{name}",
            "level": "high",
            "scope": {"cameras": [first, second]},
            "cooldown": "10s",
            "match": match,
        }
        for name, match in matches.items()
    ]


def switch_on(server: Server, cameras: Sequence[str], rules: Sequence[dict[str, object]]) -> None:
    """Add the rules, and switch the cameras on when all of them count."""
    effective = ""
    for rule in rules:
        effective = server.call("POST", "/api/v1/rules", {"document": rule})["effective_at"]
    eventually(lambda: server.call("GET", "/health")["timestamp"][:26] > effective[:26], seconds=10)
    for camera in cameras:
        server.call("PATCH", f"/api/v1/cameras/{camera}", {"enabled": True})


def state(server: Server) -> str:
    """What the cameras are doing; empty where they do not all do the same."""
    states = {row["state"] for row in server.call("GET", "/api/v1/camera-status")["items"]}
    return str(states.pop()) if len(states) == 1 else ""


def position(server: Server) -> int:
    """The scene time that ingest has stored, in microseconds; -1 before the first."""
    return server.film_position(YARD)


def incidents(server: Server) -> list[dict[str, Any]]:
    """All incidents, oldest first."""
    return sorted(server.every("/api/v1/incidents"), key=lambda row: str(row["matched_at"]))


def rules_of(rows: Iterable[dict[str, Any]], where: str) -> list[str]:
    """The rules of incidents or alerts that are of `YARD`, or those `OVER` both cameras; sorted."""
    return sorted(row["rule"] for row in rows if row["rule"].startswith(f"{where}-"))


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
