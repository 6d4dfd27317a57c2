"""Every service its own process on Kafka and PostgreSQL, and processes killed with -9 in the middle of the scene.

One dose of `tests/chaos/test_house_kills.py`: both orchestrators, the notifiers in the act, ingest, at last all at once.
Two cameras, on partitions of their own, with rules over both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.sim.scene import Scene
from tests.e2e import yard
from tests.e2e.commands import recomputed
from tests.e2e.house import House
from tests.e2e.server import eventually, ids
from tests.e2e.verdicts import (
    as_answered,
    as_derived,
    finished,
    kill_at,
    once_each,
    reached,
    too_late,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.receiver import Receiver

SCENE, STREET = Scene(seed=yard.SEED, duration_s=22), Scene(seed=8, duration_s=22)
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
    yard.put_up(house, SCENE, receiver.url, options="&resume=1", street=STREET)
    receiver.hold()
    for second, name in ((6, "orchestrator-main"), (9, "orchestrator-main-2")):
        reached(house, second)  # the film goes on: a slow machine must not be late for its end
        house.kill_member(name)
    eventually(receiver.held.is_set, seconds=120)
    for name in ("notifier-main", "notifier-main-2"):
        house.kill_member(name)
    receiver.answer()
    kill_at(house, 18, "ingest-main")
    finished(house, receiver, SCENE)
    as_derived(house)
    as_answered(house)
    came = set(yard.rules_of(yard.incidents(house), yard.OVER))
    rules = {str(one["id"]) for one in yard.over_both("yard", "street")}
    assert came == rules or too_late(house)
    once_each(house, receiver, most_again=1)
    statuses = house.call("GET", "/api/v1/camera-status")["items"]
    assert [row["epoch"] for row in statuses] == [2, 2]
    before = yard.incidents(house)
    for row in before:  # one process wrote it and another one shows it
        eventually(lambda path=row["snapshot"]: house.ask("GET", path).status_code == 200)
    links = [body["data"]["links"]["incident"] for body in receiver.bodies]
    assert all(link.startswith(f"{house.url}/") for link in links)

    house.kill()
    eventually(lambda: house.left() == [])
    house.start()
    assert yard.incidents(house) == before
    recomputed_by_command(house)
    assert house.stop() == 0
    assert house.left() == []


def recomputed_by_command(house: House) -> None:
    """`vantage replay --recompute` on the log of the house that runs: one camera asked for, the other heard along."""
    engines = {"VANTAGE_BUS_URL": "kafka", "VANTAGE_DB_URL": "postgres"}
    environment = {name: house.engine_url(engine) for name, engine in engines.items()}
    opened, printed = recomputed("--camera", "yard", folder=house.folder, environment=environment)
    assert opened == ids(yard.incidents(house), "incident") or too_late(house)
    assert "heard along for rules over several cameras: street" in printed
