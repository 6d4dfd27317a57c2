"""Every service its own process on Kafka and PostgreSQL, and processes killed with -9 in the middle of the scene.

The default run has one dose: both orchestrators, the notifiers in the act, and ingest. `make chaos` kills each by itself
and more often (VANTAGE_CHAOS_REPEATS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from shared.sim.scene import SECOND, Scene
from shared.sim.truth import truth
from tests.e2e import yard
from tests.e2e.house import House
from tests.e2e.offline import derived
from tests.e2e.receiver import Receiver
from tests.e2e.server import eventually, ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCENE = Scene(seed=yard.SEED, duration_s=30)
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(480)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "data"
    folder.mkdir()
    one = House(folder, replicas="orchestrator=2,notifier=2,inference=2")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def test_the_scene_with_processes_killed_in_its_middle(house: House, receiver: Receiver) -> None:
    yard.put_up(house, SCENE, receiver.url, options="&resume=1")
    receiver.hold()
    kill_at(house, 6, "orchestrator-main")
    kill_at(house, 9, "orchestrator-main-2")
    eventually(receiver.held.is_set, seconds=120)
    for name in ("notifier-main", "notifier-main-2"):
        house.kill_member(name)
    receiver.answer()
    kill_at(house, 18, "ingest-main")
    finished(house, receiver, SCENE)
    once_each(house, receiver, most_again=1)
    as_derived(house)
    assert house.call("GET", "/api/v1/camera-status")["items"][0]["epoch"] == 2

    pids = [house.pid, *(process.pid for process in psutil.Process(house.pid).children())]
    assert house.stop() == 0
    assert house.left() == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


def kill_at(house: House, second: float, name: str) -> None:
    """kill -9 when the film has come so far; answers once another process has taken its name."""
    eventually(lambda: yard.position(house) >= second * SECOND, seconds=120, every=0.1)
    house.until_back(name, house.kill_member(name))


def finished(house: House, receiver: Receiver, scene: Scene) -> None:
    """The film has ended and everything that should come has come; nothing else did."""
    expected = truth(scene)
    eventually(lambda: yard.state(house) == "ended", seconds=180)
    eventually(lambda: len(house.every("/api/v1/alerts")) >= len(expected), seconds=120)
    eventually(lambda: len(receiver.ids) >= len(expected), seconds=120)
    eventually(lambda: not underway(house), seconds=120)
    live = yard.incidents(house)
    assert sorted(row["rule"] for row in live) == yard.told(expected)
    assert not any(row["suppressed"] for row in live)


def underway(house: House) -> bool:
    states = {row["state"] for row in house.every("/api/v1/deliveries")}
    return bool(states & {"pending", "retrying"})


def once_each(house: House, receiver: Receiver, *, most_again: int) -> None:
    """Each alert has one distinct delivery a channel; so many sends at most were made again, under the same id."""
    alerts = {row["alert"] for row in house.every("/api/v1/alerts")}
    assert set(receiver.ids) == alerts
    assert all(len(found) == 1 for found in receiver.ids.values())
    assert receiver.sends.total() - len(alerts) <= most_again
    for channel in house.call("GET", "/api/v1/channels")["items"]:
        rows = house.every("/api/v1/deliveries", channel=channel["id"], state="delivered")
        assert ids(rows, "alert") == sorted(alerts)


def as_derived(house: House) -> None:
    """What happened equals what follows from `detections` on the log when nothing runs: ids, tracks, places."""
    offline = derived(log=house.engine_url("kafka"), db=house.engine_url("postgres"))
    by_id = {row["incident"]: row for row in yard.incidents(house)}
    assert {one.incident for one in offline.incidents} == set(by_id)
    for one in offline.incidents:
        row = by_id[one.incident]
        assert (list(one.tracks), one.seq, one.epoch) == (row["tracks"], row["seq"], row["epoch"])
    eventually(lambda: set(ids(house.every("/api/v1/tracks"), "track")) == offline.tracks)
