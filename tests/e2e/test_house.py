"""Every service its own process on Kafka and PostgreSQL, and processes killed with -9 in the middle of the scene.

One dose of `tests/chaos/test_house_kills.py`: both orchestrators, the notifiers in the act, ingest, at last all at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.sim.scene import Scene
from tests.e2e import yard
from tests.e2e.house import House
from tests.e2e.server import eventually
from tests.e2e.verdicts import as_derived, finished, kill_at, once_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.receiver import Receiver

SCENE = Scene(seed=yard.SEED, duration_s=22)
pytestmark = [
    pytest.mark.row("E2E"),
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(480),
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "data", replicas="orchestrator=2,notifier=2") as one:
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
    before = yard.incidents(house)
    for row in before:  # one process wrote it and another one shows it
        eventually(lambda path=row["snapshot"]: house.ask("GET", path).status_code == 200)
    links = [body["data"]["links"]["incident"] for body in receiver.bodies]
    assert all(link.startswith(f"{house.url}/") for link in links)

    house.kill()
    eventually(lambda: house.left() == [])
    house.start()
    assert yard.incidents(house) == before
    assert house.stop() == 0
    assert house.left() == []
