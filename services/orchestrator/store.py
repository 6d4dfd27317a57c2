"""All SQL of the orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, func, insert, select, update

from schemas.events.camera_configured import CameraConfigured
from schemas.events.incident_changes import IncidentExtended, IncidentMoved, IncidentOpened, State
from services.orchestrator.models import cameras, incidents, plans, rules, transitions
from shared.db.base import insert_new, insert_or_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row, Select

    from schemas.event import Envelope
    from schemas.events.rule_defined import RuleDefined
    from shared.db.engine import Reader, Transaction


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a rule; `document` None where the revision removed it."""

    rule: str
    revision: int
    rule_version: str
    rule_hash: str
    document: dict[str, Any] | None
    effective_at: int
    author: str
    saved_at: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incident stands: its last transition."""

    incident: str
    camera: str
    state: State
    seq: int


async def rule_history(reader: Reader, rule: str | None = None) -> list[RuleRow]:
    """All revisions of all rules, or of one, in their order."""
    query = select(rules).order_by(rules.c.rule, rules.c.revision)
    if rule is not None:
        query = query.where(rules.c.rule == rule)
    return [_rule(row) for row in await reader.execute(query)]


async def newest_rules(reader: Reader, rule: str | None = None) -> list[RuleRow]:
    """The newest revision of every rule, or of one; removed ones included."""
    newest = select(rules.c.rule, func.max(rules.c.revision).label("revision"))
    newest = newest.group_by(rules.c.rule)
    if rule is not None:
        newest = newest.where(rules.c.rule == rule)
    last = newest.subquery()
    query = (
        select(rules)
        .join(last, and_(rules.c.rule == last.c.rule, rules.c.revision == last.c.revision))
        .order_by(rules.c.rule)
    )
    return [_rule(row) for row in await reader.execute(query)]


async def add_rule(tx: Transaction, defined: RuleDefined, *, now: int) -> None:
    """A new revision.

    Raises:
        sqlalchemy.exc.IntegrityError: the revision is there already: another change came first.
    """
    await _add_revision(tx, defined, msgspec.json.encode(defined.document), now)


async def end_rule(tx: Transaction, last: RuleDefined, *, now: int) -> None:
    """A revision that removes the rule from its `effective_at` on."""
    await _add_revision(tx, last, None, now)


async def known_cameras(reader: Reader) -> list[CameraConfigured]:
    """All camera documents that were ever seen, in their order."""
    query = select(cameras.c.document).order_by(cameras.c.camera, cameras.c.document_version)
    found = await reader.execute(query)
    return [msgspec.json.decode(row.document, type=CameraConfigured) for row in found]


async def add_camera(tx: Transaction, camera: CameraConfigured) -> None:
    """Keep a camera's document; one that is there already stays."""
    row = {
        "camera": camera.camera,
        "document_version": camera.document_version,
        "effective_at": camera.effective_at,
        "document": msgspec.json.encode(camera),
    }
    await tx.execute(insert_new(cameras), row)


async def planned(reader: Reader, camera: str) -> bytes | None:
    """What was last said about a camera's plan: JSON, empty for a tombstone, None for nothing yet."""
    found = await reader.execute(select(plans.c.plan).where(plans.c.camera == camera))
    row = found.one_or_none()
    return None if row is None else bytes(row.plan)


async def keep_plan(tx: Transaction, camera: str, plan: bytes) -> None:
    """What was said now."""
    statement = insert_or_update(plans, keys=("camera",), update=("plan",))
    await tx.execute(statement, {"camera": camera, "plan": plan})


async def apply(tx: Transaction, said: Sequence[Envelope], *, request: str | None = None) -> None:
    """Rows of what is said about incidents; what is there already stays.

    Raises:
        sqlalchemy.exc.IntegrityError: an incident has another transition of the same number.
    """
    opened = [one.event for one in said if isinstance(one.event, IncidentOpened)]
    if opened:
        await tx.execute(insert_new(incidents), [_incident(event) for event in opened])
    for envelope in said:
        if isinstance(envelope.event, IncidentExtended):
            await _extend(tx, envelope.event)
    moved = [
        _transition(one.id, one.event, request)
        for one in said
        if isinstance(one.event, IncidentMoved)
    ]
    if moved:
        await tx.execute(insert(transitions), moved)


async def standing(reader: Reader, incident: str) -> Standing | None:
    """Where an incident stands; None where there is none."""
    found = await reader.execute(_standings().where(incidents.c.incident == incident))
    row = found.one_or_none()
    return None if row is None else _standing(row)


async def waiting(reader: Reader, *, before: int, limit: int) -> list[Standing]:
    """Incidents that matched before a moment and still wait for a person."""
    query = (
        _standings()
        .where(incidents.c.matched_at < before)
        .where(transitions.c.target.in_(("OPEN", "ACKED")))
        .order_by(incidents.c.matched_at)
        .limit(limit)
    )
    return [_standing(row) for row in await reader.execute(query)]


async def asked_before(reader: Reader, incident: str, request: str) -> list[IncidentMoved]:
    """The transitions that an earlier call with this Idempotency-Key made on this incident."""
    query = (
        select(transitions, incidents.c.camera)
        .join(incidents, incidents.c.incident == transitions.c.incident)
        .where(transitions.c.incident == incident, transitions.c.request == request)
        .order_by(transitions.c.seq)
    )
    fields = IncidentMoved.__struct_fields__
    return [
        msgspec.convert({name: getattr(row, name) for name in fields}, IncidentMoved)
        for row in await reader.execute(query)
    ]


def _standings() -> Select[Any]:
    """Incidents joined with their last transition."""
    last = (
        select(transitions.c.incident, func.max(transitions.c.seq).label("seq"))
        .group_by(transitions.c.incident)
        .subquery()
    )
    return (
        select(incidents.c.incident, incidents.c.camera, transitions.c.target, transitions.c.seq)
        .join(last, last.c.incident == incidents.c.incident)
        .join(
            transitions,
            and_(
                transitions.c.incident == last.c.incident,
                transitions.c.seq == last.c.seq,
            ),
        )
    )


def _standing(row: Row[Any]) -> Standing:
    return Standing(incident=row.incident, camera=row.camera, state=row.target, seq=row.seq)


async def _add_revision(
    tx: Transaction, defined: RuleDefined, document: bytes | None, now: int
) -> None:
    row = {
        "rule": defined.rule,
        "revision": defined.revision,
        "rule_version": defined.rule_version,
        "rule_hash": defined.rule_hash,
        "document": document,
        "effective_at": defined.effective_at,
        "author": defined.author,
        "saved_at": now,
    }
    await tx.execute(insert(rules), row)


async def _extend(tx: Transaction, event: IncidentExtended) -> None:
    """Counts are said, not added up: a replayed event changes nothing."""
    counted = (
        update(incidents)
        .where(incidents.c.incident == event.incident, incidents.c.count < event.count)
        .values(
            count=event.count,
            last_at=event.matched_at,
            suppressed=incidents.c.suppressed + int(event.suppressed),
        )
    )
    await tx.execute(counted)


def _incident(event: IncidentOpened) -> dict[str, Any]:
    return {
        "incident": event.incident,
        "camera": event.camera,
        "rule": event.cause.rule,
        "severity": event.severity,
        "title": event.title,
        "matched_at": event.matched_at,
        "last_at": event.matched_at,
        "count": 1,
        "suppressed": int(event.suppressed),
        "margin": event.margin,
        "simulated": event.simulated,
        "tracks": list(event.tracks),
    }


def _transition(id: str, event: IncidentMoved, request: str | None) -> dict[str, Any]:
    return {
        "incident": event.incident,
        "seq": event.seq,
        "event_id": id,
        "source": event.source,
        "target": event.target,
        "moved_at": event.moved_at,
        "actor": event.actor,
        "reason": event.reason,
        "outcome": event.outcome,
        "request": request,
    }


def _rule(row: Row[Any]) -> RuleRow:
    document = None if row.document is None else msgspec.json.decode(row.document)
    return RuleRow(
        rule=row.rule,
        revision=row.revision,
        rule_version=row.rule_version,
        rule_hash=row.rule_hash,
        document=document,
        effective_at=row.effective_at,
        author=row.author,
        saved_at=row.saved_at,
    )
