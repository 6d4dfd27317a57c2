"""Two simulated cameras and rules over both, on one server that is killed in the middle: once each, as replayed."""

import pytest

from shared.sim.scene import Scene
from tests.e2e import films, yard
from tests.e2e.commands import recomputed
from tests.e2e.offline import derive_across
from tests.e2e.receiver import Receiver
from tests.e2e.server import Server, eventually, ids

SCENES = {"Left": Scene(seed=7, duration_s=20), "Right": Scene(seed=8, duration_s=20)}


def put_up(server: Server, webhook: str) -> list[str]:
    """Two cameras in two yards, and rules over both; ids of the cameras."""
    server.call("POST", "/api/v1/channels", {"kind": "webhook", "name": "hook", "url": webhook})
    cameras = [yard.add(server, name, scene, "&resume=1") for name, scene in SCENES.items()]
    yard.switch_on(server, cameras, yard.over_both(*cameras))
    return cameras


@pytest.mark.timeout(300)
def test_an_incident_over_two_cameras_comes_once(server: Server, receiver: Receiver) -> None:
    cameras = put_up(server, receiver.url)
    eventually(lambda: server.every("/api/v1/incidents"), seconds=120)
    server.kill()
    server.start()
    eventually(lambda: yard.state(server) == "ended", seconds=180)
    rules = {str(one["id"]) for one in yard.over_both(*cameras)}
    eventually(lambda: set(yard.rules_of(yard.incidents(server), yard.OVER)) == rules)
    films.settle(server)
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
    both = {one.cameras for one in replayed if one.cause.rule == f"{yard.OVER}-both"}
    assert both == {tuple(sorted(cameras))}
    recomputed_by_command(server, ids(live, "incident"))


def recomputed_by_command(server: Server, live: list[str]) -> None:
    """From `detections` alone it is the same too, also where one camera is asked for."""
    opened, printed = recomputed(folder=server.folder)
    assert opened == live
    assert "heard along" not in printed
    opened, printed = recomputed("--camera", "left", folder=server.folder)
    assert opened == live
    assert "heard along for rules over several cameras: right" in printed
