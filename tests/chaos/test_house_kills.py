"""Processes of a whole house killed one kind at a time, and all of them restarted under load.

The scene is the same each time; the moments are drawn anew in each turn.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from schemas.events.detections_made import DetectionsMade
from schemas.events.stream_marks import StreamInterrupted, StreamOpened
from shared.sim.scene import SECOND, Scene
from shared.sim.truth import truth
from tests.e2e import offline, yard
from tests.e2e.house import House, status_of
from tests.e2e.server import eventually
from tests.e2e.verdicts import MARKS_S, as_derived, finished, kill_at, once_each, underway

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.event import Envelope
    from shared.sim.truth import Expected
    from tests.e2e.receiver import Receiver

SCENE = Scene(seed=yard.SEED, duration_s=60)
REPLICAS = "gateway=2,vms=2,orchestrator=2,inference=2,notifier=2,dashboard=2"
pytestmark = [
    pytest.mark.row("E2E"),
    pytest.mark.chaos,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "data", replicas=REPLICAS) as one:
        yield one


def test_orchestrators_killed_at_any_time_change_nothing(
    house: House, receiver: Receiver, chance: random.Random
) -> None:
    yard.put_up(house, SCENE, receiver.url)
    for number, second in enumerate(sorted(chance.uniform(2, 55) for _ in range(6))):
        kill_at(house, second, ("orchestrator-main", "orchestrator-main-2")[number % 2])
    finished(house, receiver, SCENE)
    once_each(house, receiver, most_again=0)
    as_derived(house)


def test_notifiers_killed_in_the_act_send_again_under_the_same_id(
    house: House, receiver: Receiver, chance: random.Random
) -> None:
    yard.put_up(house, SCENE, receiver.url)
    kills = 3
    for _ in range(kills):
        receiver.hold()
        eventually(receiver.held.is_set, seconds=120)
        time.sleep(chance.uniform(0, 0.5))
        for name in ("notifier-main", "notifier-main-2"):
            house.until_back(name, house.kill_member(name))
        receiver.answer()
    finished(house, receiver, SCENE)
    once_each(house, receiver, most_again=kills)
    assert max(receiver.sends.values()) <= 2
    as_derived(house)


def test_inference_killed_leaves_a_gap_that_is_known_and_no_false_incident(
    house: House, receiver: Receiver, chance: random.Random
) -> None:
    yard.put_up(house, SCENE, receiver.url)
    second = chance.uniform(17.5, 19)
    # Whoever of the two looks at the camera: one after the other.
    kill_at(house, second, "inference-main")
    kill_at(house, second + 1, "inference-main-2")
    eventually(lambda: yard.state(house) == "ended", seconds=180)
    eventually(lambda: not underway(house))
    expected = truth(SCENE)
    derived = as_derived(house)
    seen = [event.seq for event in _detections(house)]
    lost = seen[-1] - len(set(seen))
    looked = [event.captured_at for event in _detections(house)]
    first = looked[0]
    gaps = [(a - first, b - first) for a, b in itertools.pairwise(looked) if b - a > SECOND]
    assert gaps, "nothing was lost: the kills met nobody"
    missed = _missed(expected, [row["rule"] for row in yard.incidents(house)])
    for one in missed:  # only what was on its way when nobody looked
        assert any(since - 8 * SECOND <= one.at <= until + 3 * SECOND for since, until in gaps)
    assert derived.gaps or not missed, "a rule was not decided and nobody knows it"
    assert 0 < lost <= SCENE.duration * yard.FPS // SECOND // 2
    once_each(house, receiver, most_again=0)


def test_ingest_killed_says_how_long_it_was_away(
    house: House, receiver: Receiver, chance: random.Random
) -> None:
    yard.put_up(house, SCENE, receiver.url, options="&resume=1")
    kills = []
    for second in (chance.uniform(17.5, 20), chance.uniform(22, 24), chance.uniform(52.5, 55)):
        eventually(lambda at=second: yard.position(house) >= at * SECOND, seconds=120)
        kills.append(time.time_ns() // 1000)
        house.until_back("ingest-main", house.kill_member("ingest-main"))
    finished(house, receiver, SCENE)
    once_each(house, receiver, most_again=0)
    as_derived(house)
    events = [envelope.event for envelope in _events(house)]
    away = {one.epoch: one for one in events if isinstance(one, StreamInterrupted)}
    opened = {one.epoch: one.opened_at for one in events if isinstance(one, StreamOpened)}
    assert sorted(opened) == [1, 2, 3, 4]
    assert sorted(away) == [1, 2, 3]
    for epoch, killed in enumerate(kills, start=1):
        one = away[epoch]
        assert killed - MARKS_S * SECOND <= one.since <= killed + SECOND
        assert killed <= one.until <= opened[epoch + 1]


def test_all_services_restarted_one_by_one_under_load_lose_nothing(
    house: House, receiver: Receiver, chance: random.Random
) -> None:
    yard.put_up(house, SCENE, receiver.url, options="&resume=1")
    files = (house.folder / "run").glob("*.main*.lock")
    names = sorted(path.stem.replace(".", "-", 1) for path in files)
    names = [name for name in names if not name.startswith(("house", "ingest", "inference"))]
    chance.shuffle(names)
    with Readers(house) as readers:
        # Frames may be lost while nobody looks: what looks and what reads is restarted where nothing happens.
        eventually(lambda: yard.position(house) >= 17.2 * SECOND, seconds=120)
        for name in ["inference-main", *names]:
            restart(house, name)
        eventually(lambda: yard.position(house) >= 52.2 * SECOND, seconds=180)
        for name in ("inference-main-2", "ingest-main"):
            restart(house, name)
        finished(house, receiver, SCENE)
    once_each(house, receiver, most_again=0)
    as_derived(house)
    assert readers.refused == Counter()
    assert "drain_too_slow" not in "".join(house.logs(name) for name in names)


def restart(house: House, name: str) -> None:
    """SIGTERM; wait until it has ended by itself and the house has started it again."""
    old = psutil.Process(house.member(name))
    os.kill(old.pid, signal.SIGTERM)
    house.until_back(name, old.pid)
    house.until_ready(name)


class Readers:
    """People who read through both gateways all the time. A gateway that restarts is no refusal: the other serves."""

    def __init__(self, house: House) -> None:
        self.refused: Counter[int] = Counter()
        self._over = threading.Event()
        self._sockets = [house.socket(name) for name in ("gateway-main", "gateway-main-2")]
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Readers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._over.wait(0.02):
            for path in self._sockets:
                if (status := status_of(path, "/api/v1/site")) not in (0, 200):
                    self.refused[status] += 1


def _missed(expected: list[Expected], rules: list[str]) -> list[Expected]:
    """What did not come. What came and was not expected fails here."""
    left = Counter(rules)
    missed = []
    for one in expected:
        name = f"{yard.YARD}-{one.rule}"
        if left[name]:
            left[name] -= 1
        else:
            missed.append(one)
    assert not +left, f"nobody expected {+left}"
    return missed


def _events(house: House) -> list[Envelope]:
    return [one for events in offline.read(house.engine_url("kafka")) for one in events]


def _detections(house: House) -> list[DetectionsMade]:
    found = [one.event for one in _events(house) if isinstance(one.event, DetectionsMade)]
    return [one for one in found if one.coverage != "none"]
