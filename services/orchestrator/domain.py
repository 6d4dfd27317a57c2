"""Incidents as a pure state machine: from a match to what is said about it; and a camera's plan."""

import uuid
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from schemas.event import Event, moment
from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_configured import CameraConfigured
from schemas.events.incident_changes import (
    Cause,
    IncidentExtended,
    IncidentMoved,
    IncidentOpened,
    Severity,
    State,
)
from schemas.events.plan_decided import PlanDecided
from shared.errors import Conflict, Invalid
from shared.ids import derived
from shared.rules.values import Match

Outcome = Literal["tp", "fp", "unsure", ""]
SYSTEM = "system"
SECOND = 1_000_000
NAMESPACE = uuid.UUID("0f2b7c1a-93c5-5d0e-8a47-6f6c5f2b9d11")

TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({"CANDIDATE"}),
    "CANDIDATE": frozenset({"SUPPRESSED", "ENRICHED", "EXPIRED"}),
    "SUPPRESSED": frozenset(),
    "ENRICHED": frozenset({"PROVISIONAL", "EXPIRED"}),
    "PROVISIONAL": frozenset({"OPEN", "EXPIRED"}),
    "OPEN": frozenset({"ACKED", "EXPIRED"}),
    "ACKED": frozenset({"RESOLVED", "EXPIRED"}),
    "RESOLVED": frozenset({"CLOSED"}),
    "CLOSED": frozenset(),
    "EXPIRED": frozenset(),
}
"""Which states may follow which; everything else is refused."""

ROUTES: dict[State, tuple[State, ...]] = {
    "ACKED": ("ACKED",),
    "RESOLVED": ("ACKED", "RESOLVED"),
    "CLOSED": ("CLOSED",),
}
"""What a person may ask for, and the states on the way there: who resolves has seen it."""

ALERTED: frozenset[Severity] = frozenset({"critical", "high", "medium"})
"""Severities that alert at once; the others are listed until there are digests."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the match: the frame that completed it, its camera, and what made the decision."""

    epoch: int
    seq: int
    camera_name: str
    site: str
    time_zone: str
    model: str
    tracker: str
    simulated: bool
    topic: str
    partition: int
    offset: int


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Who moves an incident, when and why."""

    actor: str
    reason: str
    at: int
    outcome: Outcome = ""


def incident_id(site: str, match: Match) -> str:
    """The same for the same site, rule, major version, group and second, on every machine and in every replay."""
    major = match.rule_version.split(".", 1)[0]
    second = match.incident_at // SECOND
    return str(uuid.uuid5(NAMESPACE, f"{site}|{match.rule}|{major}|{match.group}|{second}"))


def alert_id(incident: str) -> str:
    """An incident has at most one alert."""
    return str(uuid.uuid5(NAMESPACE, f"{incident}|alert"))


def snapshot_place(incident: str) -> str:
    """Where the incident's first picture will stand in the blob store."""
    return f"incidents/{incident}/first.jpg"


def event_id(incident: str, event: Event, ordinal: int) -> str:
    """The id of the `ordinal`-th event of its type about an incident."""
    return derived(incident, event.type, ordinal)


def decide(match: Match, facts: Facts, *, raised_at: int) -> list[tuple[str, Event]]:
    """Everything that is said about a match, as (event id, event) in order.

    A match that opens an incident takes it through its states; one that belongs to an incident is counted on it.
    """
    incident = incident_id(facts.site, match)
    cause = _cause(match, facts)
    if match.outcome != "opened":
        extended = _extended(incident, match, cause)
        return [(event_id(incident, extended, match.count), extended)]
    shadow = match.status == "shadow"
    opened = _opened(incident, match, facts, cause, suppressed=shadow)
    said: list[tuple[str, Event]] = [(event_id(incident, opened, 0), opened)]
    for move in _first_moves(incident, match, shadow=shadow):
        said.append((event_id(incident, move, move.seq), move))
    if not shadow and match.severity in ALERTED:
        alert = _alert(opened, facts, raised_at)
        said.append((event_id(incident, alert, 0), alert))
    return said


def moves_to(
    incident: str, camera: str, current: tuple[State, int], target: State, *, by: Deed
) -> list[IncidentMoved]:
    """The transitions that take an incident from (state, seq) to what a person asked for.

    Raises:
        Invalid: nobody may ask for this state, or the outcome does not fit it.
        Conflict: the state does not allow it.
    """
    state, seq = current
    route = ROUTES.get(target)
    if route is None:
        raise Invalid(
            f"target: nobody moves an incident to {target!r}; use {', '.join(ROUTES)}",
            field="target",
        )
    if (by.outcome != "") != (target == "RESOLVED"):
        raise Invalid(
            f"outcome: {by.outcome!r} does not go with {target}; RESOLVED needs tp, fp or unsure, "
            "the others none",
            field="outcome",
        )
    steps = route[route.index(state) + 1 :] if state in route else route
    moves: list[IncidentMoved] = []
    for step in steps:
        seq += 1
        moves.append(_moved(incident, camera, (seq, state, step), by))
        state = step
    if not moves:
        raise Conflict(f"the incident is {state} already")
    return moves


def expire(incident: str, camera: str, current: tuple[State, int], *, at: int) -> IncidentMoved:
    """Nobody looked for too long.

    Raises:
        Conflict: the incident waits for nobody.
    """
    state, seq = current
    deed = Deed(actor=SYSTEM, reason="expired", at=at)
    return _moved(incident, camera, (seq + 1, state, "EXPIRED"), deed)


def plan(camera: CameraConfigured) -> PlanDecided | None:
    """What inference looks for on a camera; None where nothing is. A function of the document alone."""
    if not camera.enabled:
        return None
    detect = camera.detect
    return PlanDecided(
        camera=camera.camera,
        model=detect.model,
        backend=detect.backend,
        classes=detect.classes,
        threshold=detect.threshold,
        nms=detect.nms,
        rate=detect.rate,
        every_frame=detect.every_frame,
        plan_version=camera.document_version,
        decided_at=camera.effective_at,
    )


def sentence(opened: IncidentOpened, facts: Facts) -> str:
    """One sentence a guard can act on, from facts alone; times by the site's wall clock."""
    count = len(opened.tracks)
    who = opened.label or "something"
    subject = f"{count} x {who}" if count > 1 else who
    where = f" in {opened.zone}" if opened.zone else f" across {opened.line}" if opened.line else ""
    local = moment(opened.matched_at).astimezone(ZoneInfo(facts.time_zone))
    text = f"{subject}{where} on {facts.camera_name} at {local:%H:%M:%S}"
    lasted = opened.matched_at - opened.started_at
    return f"{text}, since {lasted / SECOND:.1f} s" if lasted >= SECOND else text


def _first_moves(incident: str, match: Match, *, shadow: bool) -> list[IncidentMoved]:
    alerted = match.severity in ALERTED
    path: list[tuple[State, str]] = [("CANDIDATE", "matched")]
    if shadow:
        path.append(("SUPPRESSED", "shadow"))
    else:
        path += [
            ("ENRICHED", "facts"),
            ("PROVISIONAL", "alerted" if alerted else "listed"),
            ("OPEN", "no_verifier"),
        ]
    moves, state = [], None
    for seq, (target, reason) in enumerate(path, start=1):
        deed = Deed(actor=SYSTEM, reason=reason, at=match.matched_at)
        moves.append(_moved(incident, match.camera, (seq, state, target), deed))
        state = target
    return moves


def _moved(
    incident: str, camera: str, step: tuple[int, State | None, State], deed: Deed
) -> IncidentMoved:
    seq, source, target = step
    if target not in TRANSITIONS[source]:
        allowed = ", ".join(sorted(TRANSITIONS[source])) or "nothing"
        raise Conflict(f"an incident that is {source} cannot become {target}, only {allowed}")
    return IncidentMoved(
        incident=incident,
        camera=camera,
        seq=seq,
        source=source,
        target=target,
        moved_at=deed.at,
        actor=deed.actor,
        reason=deed.reason,
        outcome=deed.outcome if target == "RESOLVED" else "",
    )


def _opened(
    incident: str, match: Match, facts: Facts, cause: Cause, *, suppressed: bool
) -> IncidentOpened:
    return IncidentOpened(
        incident=incident,
        camera=match.camera,
        epoch=facts.epoch,
        seq=facts.seq,
        title=match.title,
        severity=match.severity,
        group=match.group,
        label=match.label,
        tracks=match.tracks,
        zone=match.zone,
        line=match.line,
        started_at=match.started_at,
        matched_at=match.matched_at,
        margin=match.margin,
        suppressed=suppressed,
        simulated=facts.simulated,
        cameras=match.cameras,
        snapshot=snapshot_place(incident),
        cause=cause,
    )


def _extended(incident: str, match: Match, cause: Cause) -> IncidentExtended:
    return IncidentExtended(
        incident=incident,
        camera=match.camera,
        matched_at=match.matched_at,
        count=match.count,
        suppressed=match.outcome == "suppressed",
        tracks=match.tracks,
        margin=match.margin,
        cause=cause,
    )


def _alert(opened: IncidentOpened, facts: Facts, raised_at: int) -> AlertRaised:
    return AlertRaised(
        alert=alert_id(opened.incident),
        incident=opened.incident,
        camera=opened.camera,
        camera_name=facts.camera_name,
        site=facts.site,
        severity=opened.severity,
        title=opened.title,
        summary=sentence(opened, facts),
        label=opened.label,
        tracks=opened.tracks,
        zone=opened.zone,
        line=opened.line,
        epoch=opened.epoch,
        seq=opened.seq,
        matched_at=opened.matched_at,
        raised_at=raised_at,
        margin=opened.margin,
        simulated=opened.simulated,
        cameras=opened.cameras,
        snapshot=opened.snapshot,
        cause=opened.cause,
    )


def _cause(match: Match, facts: Facts) -> Cause:
    return Cause(
        rule=match.rule,
        rule_version=match.rule_version,
        rule_hash=match.rule_hash,
        camera_version=match.camera_version,
        model=facts.model,
        tracker=facts.tracker,
        topic=facts.topic,
        partition=facts.partition,
        offset=facts.offset,
    )
