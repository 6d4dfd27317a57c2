"""Two simulated cameras and rules over both, on one server that is killed in the middle: once each, as replayed."""

import msgspec
import pytest

from shared.sim.scene import SECOND, Scene
from tests.e2e import yard
from tests.e2e.offline import derive_across
from tests.e2e.receiver import Receiver
from tests.e2e.server import Server, eventually

SCENES = {"Left": Scene(seed=7, duration_s=20), "Right": Scene(seed=8, duration_s=20)}


def put_up(server: Server, webhook: str) -> list[str]:
    """Two cameras in two yards, and rules over both; ids of the cameras."""
    server.call("POST", "/api/v1/channels", {"kind": "webhook", "name": "hook", "url": webhook})
    cameras = []
    for name, scene in SCENES.items():
        sim = f"seed={scene.seed}&duration={scene.duration // SECOND}"
        camera = server.call(
            "POST",
            "/api/v1/cameras",
            {
                "name": name,
                "url": f"sim://demo?{sim}&fps={yard.FPS}&resume=1",
                "enabled": False,
                "zones": [msgspec.to_builtins(zone) for zone in scene.zones],
                "detect": {"backend": "scripted", "model": f"sim?{sim}"},
            },
        )
        cameras.append(camera["id"])
    zone = SCENES["Left"].zones[0].name
    entered = {"of": {"enter": {"zone": zone}}, "field": "camera", "op": ">=", "n": 2}
    present = {"across": "cameras", "op": ">=", "n": 2}
    rules = {"both": {"distinct": {**entered, "within": "20s"}}, "two": {"count": present}}
    effective = ""
    for rule, match in rules.items():
        document = {"id": rule, "level": "high", "scope": {"cameras": cameras}, "match": match}
        saved = server.call("POST", "/api/v1/rules", {"document": document})
        effective = saved["effective_at"]
    eventually(lambda: server.call("GET", "/health")["timestamp"][:26] > effective[:26], seconds=10)
    for camera in cameras:
        server.call("PATCH", f"/api/v1/cameras/{camera}", {"enabled": True})
    return cameras


@pytest.mark.timeout(300)
def test_an_incident_over_two_cameras_comes_once(server: Server, receiver: Receiver) -> None:
    cameras = put_up(server, receiver.url)
    eventually(lambda: server.every("/api/v1/incidents"), seconds=120)
    server.kill()
    server.start()

    def ended() -> bool:
        items = server.call("GET", "/api/v1/camera-status")["items"]
        return [one["state"] for one in items] == ["ended", "ended"]

    eventually(ended, seconds=180)
    eventually(lambda: {row["rule"] for row in yard.incidents(server)} == {"both", "two"})
    eventually(lambda: len(receiver.ids) == len(yard.incidents(server)))
    live = yard.incidents(server)
    alerts = server.every("/api/v1/alerts")
    assert len(alerts) == len(live)
    assert all(len(ids) == 1 for ids in receiver.ids.values())
    assert {row["camera"] for row in live} <= set(cameras)
    for row in live:
        assert server.call("GET", f"/api/v1/incidents/{row['incident']}")["state"] == "OPEN"
    server.stop()
    replayed = derive_across(server.folder)
    assert sorted(one.incident for one in replayed) == sorted(row["incident"] for row in live)
    both = {one.cameras for one in replayed if one.cause.rule == "both"}
    assert both == {tuple(sorted(cameras))}
