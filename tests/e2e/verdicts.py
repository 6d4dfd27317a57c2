"""What must be true of a house when its scene is over, whatever was killed on the way."""

from __future__ import annotations

import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from schemas.events.incident_changes import IncidentOpened
from schemas.events.predicates_observed import PredicatesObserved
from schemas.topics import INCIDENTS, PREDICATES
from shared.rules.across.site import LATENESS, SILENCE, Pace
from shared.sim.scene import SECOND
from shared.sim.truth import truth
from tests.e2e import yard
from tests.e2e.offline import Derived, derived, derived_across, read
from tests.e2e.server import eventually, ids

if TYPE_CHECKING:
    from shared.sim.scene import Scene
    from tests.e2e.house import House
    from tests.e2e.receiver import Receiver

MARKS_S = 3.0  # ingest stores how far it is each second; a busy machine is late with it


def kill_at(house: House, second: float, name: str) -> None:
    """kill -9 when the film has come so far; answers once another process has taken its name."""
    reached(house, second)
    house.until_back(name, house.kill_member(name))


def reached(house: House, second: float) -> None:
    """Wait until the film has come so far."""
    eventually(lambda: yard.position(house) >= second * SECOND, seconds=120, every=0.1)


def finished(house: House, receiver: Receiver, scene: Scene) -> None:
    """The film has ended and everything that should come in the yard has come; nothing else did there."""
    expected = truth(scene)
    eventually(lambda: yard.state(house) == "ended", seconds=180)
    alerts = partial(house.every, "/api/v1/alerts")
    eventually(lambda: len(yard.rules_of(alerts(), yard.YARD)) >= len(expected), seconds=120)
    eventually(lambda: len(receiver.ids) >= len(expected), seconds=120)
    eventually(lambda: not underway(house), seconds=120)
    live = yard.incidents(house)
    assert yard.rules_of(live, yard.YARD) == yard.told(expected)
    assert not any(row["suppressed"] for row in live)


def underway(house: House) -> bool:
    states = {row["state"] for row in house.every("/api/v1/deliveries")}
    return bool(states & {"pending", "retrying"})


def once_each(house: House, receiver: Receiver, *, most_again: int) -> None:
    """Each alert has one distinct delivery a channel; so many sends at most were made again, under the same id."""
    alerts = {row["alert"] for row in house.every("/api/v1/alerts")}
    eventually(lambda: alerts <= set(receiver.ids) and not underway(house))
    assert set(receiver.ids) == alerts
    assert all(len(found) == 1 for found in receiver.ids.values())
    assert receiver.sends.total() - len(alerts) <= most_again
    for channel in house.call("GET", "/api/v1/channels")["items"]:
        rows = house.every("/api/v1/deliveries", channel=channel["id"], state="delivered")
        assert ids(rows, "alert") == sorted(alerts)


def as_derived(house: House) -> Derived:
    """What happened equals what follows from `detections` on the log when nothing runs: ids, tracks, places.

    Rules over both cameras are held against that where no camera spoke too late. One whose stage is away for over 10 s
    while the other speaks does; then live has gone on without it, and `as_answered` is what holds.
    """
    offline, by_id = _both(house)
    until = time.monotonic() + 60
    while {one.incident for one in offline.incidents} != set(by_id) and time.monotonic() < until:
        time.sleep(1)
        offline, by_id = _both(house)
    assert {one.incident for one in offline.incidents} == set(by_id)
    for one in offline.incidents:
        row = by_id[one.incident]
        tracks = offline.seen_in[one.incident]
        assert (tracks, one.seq, one.epoch) == (row["tracks"], row["seq"], row["epoch"])
    eventually(lambda: set(ids(house.every("/api/v1/tracks"), "track")) == offline.tracks)
    return offline


def as_answered(house: House) -> None:
    """Rules over both cameras say what follows from what the cameras answered; every incident was opened once."""
    log, live = house.engine_url("kafka"), yard.incidents(house)
    answered = derived_across(log=log, db=house.engine_url("postgres"))
    over = [row for row in live if _is_over(row["rule"])]
    assert sorted(one.incident for one in answered) == ids(over, "incident")
    said = [one for events in read(log, INCIDENTS) for one in events]
    opened = {one.id: one.event for one in said if isinstance(one.event, IncidentOpened)}
    assert sorted(one.incident for one in opened.values()) == ids(live, "incident")


def too_late(house: House) -> bool:
    """Whether a camera was not waited for any more, and then said what the others had passed by: its stage was away."""
    pace, spoke, newest = Pace(), dict[str, int](), 0
    for one in chain(*read(house.engine_url("kafka"), PREDICATES)):
        if isinstance(said := one.event, PredicatesObserved):
            pace.hear(said.said_at)
            silent = pace.spoken - spoke.get(said.camera, pace.spoken) > SILENCE
            if silent and said.observed_at < newest - LATENESS:
                return True
            spoke[said.camera] = pace.spoken
            newest = max(newest, said.observed_at)
    return False


def _is_over(rule: str) -> bool:
    return rule.startswith(f"{yard.OVER}-")


def _both(house: House) -> tuple[Derived, dict[str, dict[str, Any]]]:
    """What follows and what happened; without rules over both cameras where one of them spoke too late."""
    offline = derived(log=house.engine_url("kafka"), db=house.engine_url("postgres"))
    live = {row["incident"]: row for row in yard.incidents(house)}
    if not too_late(house):
        return offline, live
    alone = [one for one in offline.incidents if not _is_over(one.cause.rule)]
    return offline._replace(incidents=alone), {
        id: row for id, row in live.items() if not _is_over(row["rule"])
    }
