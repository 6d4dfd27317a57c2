"""The incident's states, ids and words; the plan."""

import uuid
from typing import Any

import msgspec
import pytest

from schemas.events.alert_raised import AlertRaised
from schemas.events.incident_changes import (
    IncidentExtended,
    IncidentMoved,
    IncidentOpened,
    Severity,
    State,
)
from services.orchestrator.domain import (
    ROUTES,
    TRANSITIONS,
    Deed,
    Facts,
    alert_id,
    decide,
    expire,
    incident_id,
    moves_to,
    plan,
)
from shared.errors import Conflict, Invalid
from shared.rules.values import Match
from tests.unit.orchestrator.happenings import NOON, camera

STATES = tuple(state for state in TRANSITIONS if state is not None)
FACTS = Facts(
    epoch=1,
    seq=7,
    camera_name="Back door",
    site="home",
    time_zone="Europe/Berlin",
    model="m",
    tracker="t",
    simulated=False,
    topic="detections",
    partition=3,
    offset=42,
)


def match(**fields: Any) -> Match:
    values: dict[str, Any] = {
        "rule": "r",
        "rule_version": "1.2.3",
        "rule_hash": "h",
        "status": "stable",
        "severity": "high",
        "title": "Loitering",
        "camera": "back",
        "camera_version": 4,
        "group": "back/track=back-1-7",
        "tracks": ("back-1-7",),
        "label": "person",
        "zone": "door",
        "line": "",
        "started_at": NOON - 45_000_000,
        "matched_at": NOON,
        "margin": 0.0,
        "incident_at": NOON,
        **fields,
    }
    return Match(**values)


def said(one: Match) -> list[object]:
    return [event for _, event in decide(one, FACTS, raised_at=NOON + 1)]


def deed(outcome: Any = "", **fields: Any) -> Deed:
    return Deed(**{"actor": "ada", "reason": "operator", "at": NOON, "outcome": outcome, **fields})


def test_an_incident_goes_through_its_states_and_alerts_at_once() -> None:
    opened, *moves, alert = said(match())
    assert isinstance(opened, IncidentOpened)
    assert isinstance(alert, AlertRaised)
    path = [(m.seq, m.source, m.target, m.reason) for m in moves if isinstance(m, IncidentMoved)]
    assert path == [
        (1, None, "CANDIDATE", "matched"),
        (2, "CANDIDATE", "ENRICHED", "facts"),
        (3, "ENRICHED", "PROVISIONAL", "alerted"),
        (4, "PROVISIONAL", "OPEN", "no_verifier"),
    ]
    assert alert.summary == "person in door on Back door at 13:00:00, since 45.0 s"
    assert (alert.cause.partition, alert.cause.offset) == (3, 42)
    assert alert.snapshot == f"incidents/{opened.incident}/first.jpg"
    assert alert.raised_at == NOON + 1


@pytest.mark.parametrize(
    ("severity", "alerts"), [("critical", 1), ("high", 1), ("medium", 1), ("low", 0), ("info", 0)]
)
def test_low_and_info_are_listed_not_delivered(severity: Severity, alerts: int) -> None:
    events = said(match(severity=severity))
    assert sum(isinstance(event, AlertRaised) for event in events) == alerts
    moves = [event for event in events if isinstance(event, IncidentMoved)]
    assert moves[2].reason == ("alerted" if alerts else "listed")
    assert moves[-1].target == "OPEN"


def test_a_shadow_rule_is_counted_and_silent() -> None:
    opened, *moves = said(match(status="shadow"))
    assert isinstance(opened, IncidentOpened)
    assert opened.suppressed
    assert [m.target for m in moves if isinstance(m, IncidentMoved)] == ["CANDIDATE", "SUPPRESSED"]


@pytest.mark.parametrize(("outcome", "suppressed"), [("extended", False), ("suppressed", True)])
def test_a_further_match_is_counted_on_its_incident(outcome: str, suppressed: bool) -> None:
    first = match()
    (extended,) = said(match(outcome=outcome, count=2, matched_at=NOON + 5_000_000))
    assert isinstance(extended, IncidentExtended)
    assert extended.incident == incident_id("home", first)
    assert (extended.count, extended.suppressed) == (2, suppressed)


def test_ids_follow_from_what_the_incident_is() -> None:
    one = match()
    assert incident_id("home", one) == incident_id("home", match(rule_version="1.9.0", margin=3.0))
    assert uuid.UUID(incident_id("home", one)).version == 5
    others = [
        match(rule="s"),
        match(rule_version="2.0.0"),
        match(group="back/track=back-1-8"),
        match(incident_at=NOON + 1_000_000),
    ]
    ids = {incident_id("home", one), incident_id("away", one)}
    ids |= {incident_id("home", other) for other in others}
    assert len(ids) == 6
    assert decide(one, FACTS, raised_at=1) != decide(one, FACTS, raised_at=2)
    assert [id for id, _ in decide(one, FACTS, raised_at=1)] == [
        id for id, _ in decide(one, FACTS, raised_at=2)
    ]
    assert len({id for id, _ in decide(one, FACTS, raised_at=1)}) == 6
    assert alert_id("a") != alert_id("b")


def test_every_state_is_in_the_table_and_every_step_known() -> None:
    assert set(STATES) == {
        "CANDIDATE", "SUPPRESSED", "ENRICHED", "PROVISIONAL", "OPEN", "ACKED", "RESOLVED",
        "CLOSED", "EXPIRED",
    }  # fmt: skip
    assert {target for targets in TRANSITIONS.values() for target in targets} == set(STATES)
    for waiting in ("CANDIDATE", "ENRICHED", "PROVISIONAL", "OPEN", "ACKED"):
        assert "EXPIRED" in TRANSITIONS[waiting]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("target", tuple(ROUTES))
def test_people_move_incidents_along_legal_ways_only(state: State, target: State) -> None:
    legal: dict[tuple[str, str], list[str]] = {
        ("OPEN", "ACKED"): ["ACKED"],
        ("OPEN", "RESOLVED"): ["ACKED", "RESOLVED"],
        ("ACKED", "RESOLVED"): ["RESOLVED"],
        ("RESOLVED", "CLOSED"): ["CLOSED"],
    }
    by = deed("tp" if target == "RESOLVED" else "")
    expected = legal.get((state, target))
    if expected is None:
        with pytest.raises(Conflict):
            moves_to("i", "back", (state, 4), target, by=by)
        return
    moves = moves_to("i", "back", (state, 4), target, by=by)
    assert [move.target for move in moves] == expected
    assert [move.seq for move in moves] == list(range(5, 5 + len(moves)))
    assert moves[-1].outcome == by.outcome
    assert all(msgspec.convert(msgspec.to_builtins(move), IncidentMoved) == move for move in moves)


@pytest.mark.parametrize(("target", "outcome"), [("RESOLVED", ""), ("ACKED", "tp"), ("OPEN", "")])
def test_what_nobody_may_ask_for(target: State, outcome: str) -> None:
    with pytest.raises(Invalid):
        moves_to("i", "back", ("OPEN", 4), target, by=deed(outcome))


def test_waiting_incidents_expire_and_closed_ones_do_not() -> None:
    move = expire("i", "back", ("ACKED", 5), at=NOON)
    assert (move.seq, move.source, move.target, move.reason) == (6, "ACKED", "EXPIRED", "expired")
    with pytest.raises(Conflict):
        expire("i", "back", ("CLOSED", 7), at=NOON)


def test_a_plan_follows_from_the_document_alone() -> None:
    decided = plan(camera(version=3))
    assert decided is not None
    assert (decided.classes, decided.rate, decided.plan_version) == (("person", "dog"), 5.0, 3)
    assert decided == plan(camera(version=3))
    assert plan(camera(enabled=False)) is None
