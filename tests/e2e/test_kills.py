"""`vantage up` killed with -9 five times in the middle: nothing is lost, nothing is told twice, replay equals live."""

import pytest

from shared.sim.scene import SECOND, Scene
from shared.sim.truth import calm, truth
from tests.e2e import yard
from tests.e2e.offline import derive
from tests.e2e.receiver import Receiver
from tests.e2e.server import Server, eventually

KILLS = 5
SCENE = Scene(seed=yard.SEED, duration_s=60)


@pytest.mark.timeout(480)
def test_killed_five_times(server: Server, receiver: Receiver) -> None:
    expected = truth(SCENE)
    yard.put_up(server, SCENE, receiver.url, options="&resume=1")
    for moment in yard.moments(calm(SCENE), KILLS):
        eventually(lambda at=moment: yard.position(server) >= at, seconds=120)
        server.kill()
        server.start()
    eventually(lambda: yard.state(server) == "ended", seconds=180)
    eventually(lambda: len(server.every("/api/v1/alerts")) >= len(expected), seconds=30)
    eventually(lambda: len(receiver.ids) >= len(expected), seconds=30)

    live = yard.incidents(server)
    assert sorted(row["rule"] for row in live) == yard.told(expected)
    assert not any(row["suppressed"] for row in live)
    alerts = {row["alert"] for row in server.every("/api/v1/alerts")}
    assert set(receiver.ids) == alerts
    assert all(len(ids) == 1 for ids in receiver.ids.values())
    consoles = [
        row["alert"]
        for row in server.every("/api/v1/deliveries", channel="console")
        if row["state"] == "delivered"
    ]
    assert sorted(consoles) == sorted(alerts)
    assert server.call("GET", "/api/v1/camera-status")["items"][0]["epoch"] == KILLS + 1

    server.stop()
    offline = derive(server.folder)
    assert {one.incident for one in offline} == {row["incident"] for row in live}
    by_id = {row["incident"]: row for row in live}
    for one in offline:
        row = by_id[one.incident]
        assert (list(one.tracks), one.seq, one.epoch) == (
            list(row["tracks"]),
            row["seq"],
            row["epoch"],
        )


def test_the_moments_are_calm() -> None:
    spans = calm(SCENE)
    moments = yard.moments(spans, KILLS)
    assert len(moments) == len(set(moments)) == KILLS
    for moment in moments:
        assert any(span.start <= moment <= span.end - 2 * SECOND for span in spans)
