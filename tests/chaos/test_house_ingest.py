"""A house with two ingest processes: one is killed with -9 and stays away, and its camera moves to the other by lease.

`tests/integration/ingest/test_processes.py` has ingest alone. Here the lease lies in PostgreSQL, the process is one
that its house starts again and again, and rules over the camera that moved and the one that did not must follow.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from schemas.events.detections_made import DetectionsMade
from schemas.events.stream_marks import StreamInterrupted, StreamOpened
from services.ingest.domain import Member, assign
from shared.sim.scene import SECOND, Scene
from tests.e2e import offline, yard
from tests.e2e.house import House
from tests.e2e.server import eventually
from tests.e2e.verdicts import MARKS_S, as_answered, as_derived, finished, once_each

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from schemas.event import Event
    from tests.e2e.receiver import Receiver

STREET = "street"
SCENES = Scene(seed=yard.SEED, duration_s=30), Scene(seed=8, duration_s=30)
LEASE_S = 10.0
RENEWED_S = 4.0  # a lease may have been renewed so long before its holder died, and a turn lies between two looks
LONGEST_S = 30.0
pytestmark = [
    pytest.mark.row("R25"),
    pytest.mark.chaos,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(480),
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    environment = {"VANTAGE_INGEST_LEASE": str(LEASE_S)}
    with House(tmp_path / "data", environment, replicas="ingest=2") as one:
        yield one


def test_r25_a_camera_moves_by_lease_and_says_how_long_it_was_away(
    house: House,
    receiver: Receiver,
    chance: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    owners = assign((yard.YARD, STREET), [Member("main"), Member("main-2")])
    assert owners == {yard.YARD: "main", STREET: "main-2"}
    yard.put_up(house, SCENES[0], receiver.url, options="&resume=1", street=SCENES[1])
    eventually(lambda: holders(house) == owners)
    second = chance.uniform(4, 12)
    eventually(lambda: house.film_position(STREET) >= second * SECOND, seconds=120, every=0.1)
    killed = time.time_ns() // 1000
    keep_down(house, "ingest-main-2", lambda: holders(house)[STREET] == "main")
    finished(house, receiver, SCENES[0])
    as_derived(house)
    as_answered(house)
    once_each(house, receiver, most_again=0)

    assert {one.epoch for one in said(house, yard.YARD) if isinstance(one, StreamOpened)} == {1}
    assert gaps(said(house, yard.YARD)) == []
    away, *again = gaps(said(house, STREET))
    assert away.reason == "ingest process main-2 left the camera"
    assert killed - MARKS_S * SECOND <= away.since <= killed + SECOND
    assert killed + (LEASE_S - RENEWED_S) * SECOND <= away.until <= killed + LONGEST_S * SECOND
    record_property("camera_away_s", round((away.until - away.since) / SECOND, 1))
    assert {one.reason for one in again} <= {"ingest process main left the camera"}  # handed back
    for gap in (away, *again):
        nothing_was_seen(said(house, STREET), gap)


def nothing_was_seen(events: list[Event], gap: StreamInterrupted) -> None:
    """The interval is that between two pictures: it begins where the stream's mark was stored last."""
    seen = [one.captured_at for one in events if isinstance(one, DetectionsMade)]
    before = max(at for at in seen if at < gap.until)
    after = min(at for at in seen if at >= gap.until)
    assert before - MARKS_S * SECOND <= gap.since <= before + SECOND
    opened = [one.opened_at for one in events if isinstance(one, StreamOpened)]
    assert gap.until <= min(at for at in opened if at > before) <= after


def keep_down(house: House, name: str, over: Callable[[], bool]) -> None:
    """kill -9 a process, and each that the house starts in its place, until something is so."""
    last = house.kill_member(name)

    def done() -> bool:
        nonlocal last
        if house.member(name) not in (0, last):
            last = house.kill_member(name)
        return over()

    eventually(done, seconds=LONGEST_S, every=0.1)
    house.until_back(name, last)


def holders(house: House) -> dict[str, str]:
    """Which process holds each camera's lease."""
    query = "SELECT name, owner FROM ingest.leases WHERE name LIKE 'camera/%' AND expires_at > 0"
    rows = house.select(query)
    return {row["name"].removeprefix("camera/"): row["owner"] for row in rows}


def said(house: House, camera: str) -> list[Event]:
    """What stands on `detections` of a camera, in order."""
    events = [one for lane in offline.read(house.engine_url("kafka")) for one in lane]
    return [one.event for one in events if one.key == camera and one.event is not None]


def gaps(events: list[Event]) -> list[StreamInterrupted]:
    """The interruptions, in order."""
    return [one for one in events if isinstance(one, StreamInterrupted)]
