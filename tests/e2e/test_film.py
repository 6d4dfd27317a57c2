"""Real video and a real detector: who stays in a zone on the annotated film is who the rule reports."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import yard
from tests.e2e.offline import derive
from tests.e2e.server import Server, eventually
from tests.engines.fixtures import Data

FPS, WIDTH, HEIGHT = 7, 768, 576
DWELL_S = 3.0
GAP_S = 1.0
LATE_S = 2.0
"""The annotated stays are more than this away from the dwell, so that a detector's doubt decides nothing."""
LEFT, TOP, RIGHT, BOTTOM = 0.65, 0.30, 0.90, 0.45
CORNERS = [[LEFT, TOP], [RIGHT, TOP], [RIGHT, BOTTOM], [LEFT, BOTTOM]]
RULE = {
    "id": "corner-dwell",
    "version": "1.0.0",
    "title": "Somebody stays in the corner",
    "status": "stable",
    "level": "high",
    "scope": {"cameras": ["plaza"]},
    "match": {"dwell": {"class": "person", "zone": "corner", "min": f"{DWELL_S:g}s"}},
    "group_by": ["track"],
    "cooldown": "1s",
}


def stays(annotations: Path) -> list[float]:
    """When each annotated person's foot has been in the zone for the dwell, in seconds; oldest first."""
    inside: dict[str, list[float]] = defaultdict(list)
    for line in annotations.read_text().splitlines():
        frame, person, left, top, wide, high, *_ = line.split(",")
        x = (float(left) - 1 + float(wide) / 2) / WIDTH
        y = (float(top) - 1 + float(high)) / HEIGHT
        if LEFT <= x <= RIGHT and TOP <= y <= BOTTOM:
            inside[person].append((int(frame) - 1) / FPS)
    found = []
    for times in inside.values():
        start = last = times[0]
        for time in [*times[1:], float("inf")]:
            if time - last > GAP_S:
                found += [start + DWELL_S] if last - start >= DWELL_S else []
                start = time
            last = time
    return sorted(found)


def play(server: Server, film: Path, model: Path) -> list[dict[str, Any]]:
    """Play the film to its end under the rule; the incidents, each with its alert."""
    body = {
        "name": "Plaza",
        "url": film.resolve().as_uri(),
        "enabled": False,
        "zones": [{"name": "corner", "points": CORNERS}],
        "detect": {"model": str(model.resolve()), "rate": float(FPS)},
    }
    camera = server.call("POST", "/api/v1/cameras", body)
    effective = server.call("POST", "/api/v1/rules", {"document": RULE})["effective_at"]
    eventually(lambda: server.call("GET", "/health")["timestamp"][:26] > effective[:26], seconds=10)
    server.call("PATCH", f"/api/v1/cameras/{camera['id']}", {"enabled": True})
    eventually(lambda: yard.state(server) == "ended", seconds=150)
    eventually(lambda: settled(server), seconds=30)
    return yard.incidents(server)


def settled(server: Server) -> bool:
    """Whether every incident has its alert and its snapshot."""
    live = yard.incidents(server)
    pictures = [server.ask("GET", row["snapshot"]) for row in live]
    shown = [one for one in pictures if one.headers["content-type"] == "image/jpeg"]
    return bool(live) and len(live) == len(server.every("/api/v1/alerts")) == len(shown)


@pytest.mark.data
@pytest.mark.timeout(240)
def test_incidents_follow_from_the_annotations(server: Server, test_data: Data) -> None:
    expected = stays(test_data.media("pets09-s2l1-300.gt.txt"))
    assert len(expected) == 6
    live = play(server, test_data.media("pets09-s2l1-300.mp4"), test_data.model())
    status = server.call("GET", "/api/v1/camera-status")["items"][0]
    assert (status["sent"], status["dropped"]) == (300, 0)
    matched = sorted((row["seq"] - 1) / FPS for row in live if not row["suppressed"])
    assert matched == pytest.approx(expected, abs=LATE_S)
    assert not any(row["simulated"] for row in live)

    server.stop()
    offline = derive(server.folder)
    assert {one.incident for one in offline} == {row["incident"] for row in live}
