"""Live and offline are one pipeline: the same film gives the same detections, tracks and incidents, ids included."""

from pathlib import Path

import pytest

from shared.sim.scene import Scene
from shared.sim.truth import truth
from tests.e2e import films, yard
from tests.e2e.server import Server, eventually

SECONDS = 14


@pytest.mark.timeout(240)
def test_a_camera_and_its_film(server: Server, tmp_path: Path) -> None:
    scene = Scene(seed=yard.SEED, duration_s=SECONDS)
    yard.put_up(server, scene, "http://127.0.0.1:9/")
    eventually(lambda: yard.state(server) == "ended", seconds=60)
    eventually(lambda: len(yard.incidents(server)) >= len(truth(scene)), seconds=30)
    films.settle(server)
    incidents = {row["incident"] for row in yard.incidents(server)}
    server.stop()

    live = films.said(server.folder)
    film = films.Film(
        source=f"sim://demo?seed={yard.SEED}&fps={yard.FPS}&duration={SECONDS}",
        model=("--backend", "scripted", "--model", f"sim?seed={yard.SEED}&duration={SECONDS}"),
        zones=scene.zones,
        lines=scene.lines,
        rules=scene.rules(yard.YARD),
    )
    offline = films.analyze(film, live, tmp_path)
    assert offline.incidents == incidents
    assert len(incidents) == len(truth(scene)) == 3
    assert offline.detections == live.detections
    assert offline.tracks == live.tracks
    assert len(live.tracks) > 50
