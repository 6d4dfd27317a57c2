"""What people do with incidents: acknowledge, resolve, close; and what happens when nobody does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import IntegrityError

from services.orchestrator import store
from services.orchestrator.domain import Deed, event_id, expire, moves_to
from shared.audit import Audit
from shared.errors import Conflict, NotFound

if TYPE_CHECKING:
    from schemas.events.incident_changes import IncidentMoved, State
    from services.orchestrator.store import Standing
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database, Transaction
    from shared.metrics import Metrics

log = structlog.get_logger(__name__)

DAY_US = 86_400_000_000
TRIES = 5
LOT = 200


class Incidents:
    """Transitions that people ask for. Each is an insert under (incident, seq): a conflict means decide again."""

    def __init__(
        self, database: Database, publisher: Publisher, clock: Clock, metrics: Metrics
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._audit = Audit(publisher, clock)

    async def move(
        self, incident: str, target: State, deed: Deed, *, request: str | None
    ) -> list[IncidentMoved]:
        """Take an incident to a state; the same request again answers what it did the first time.

        Raises:
            NotFound: there is no such incident.
            Invalid: nobody may ask for that.
            Conflict: its state does not allow it, or others keep changing it.
        """
        for _ in range(TRIES):
            try:
                async with self._database.transaction() as tx:
                    return await self._move(tx, incident, target, deed, request)
            except IntegrityError:
                log.info("transition_outrun", incident=incident, target=target)
        raise Conflict("others keep changing this incident; look at it and try again")

    async def expire(self, *, before: int) -> int:
        """Expire incidents that matched before a moment and still wait; returns how many.

        Where somebody moves one of them at the same time, the next look decides.
        """
        now = self._clock.now()
        try:
            async with self._database.transaction() as tx:
                await tx.alone("expiry")
                waiting = await store.waiting(tx, before=before, limit=LOT)
                moves = [expire(w.incident, w.camera, (w.state, w.seq), at=now) for w in waiting]
                await self._say(tx, moves, None)
        except IntegrityError:
            log.info("expiry_outrun")
            return 0
        return len(moves)

    async def keep_expiring(self, days: float, every_s: float) -> None:
        """Look for them from time to time, until cancelled."""
        while True:
            expired = await self.expire(before=self._clock.now() - round(days * DAY_US))
            if expired < LOT:
                await asyncio.sleep(every_s)

    async def _move(
        self, tx: Transaction, incident: str, target: State, deed: Deed, request: str | None
    ) -> list[IncidentMoved]:
        if request is not None:
            done = await store.asked_before(tx, incident, request)
            if done:
                return done
        standing = await store.standing(tx, incident)
        if standing is None:
            raise NotFound(f"there is no incident {incident!r}")
        moves = moves_to(incident, standing.camera, _place(standing), target, by=deed)
        await self._say(tx, moves, request)
        told = " ".join(filter(None, [moves[-1].target, deed.outcome]))
        await tx.add([self._audit.entry("incident.moved", f"incident:{incident}", reason=told)])
        return moves

    async def _say(self, tx: Transaction, moves: list[IncidentMoved], request: str | None) -> None:
        said = [
            self._publisher.mint(move, id=event_id(move.incident, move, move.seq)) for move in moves
        ]
        await store.apply(tx, said, request=request)
        await tx.add(said)
        tx.after_commit(lambda: self._count(moves))

    def _count(self, moves: list[IncidentMoved]) -> None:
        for move in moves:
            self._metrics.incident_moves.labels(move.target).inc()


def _place(standing: Standing) -> tuple[State, int]:
    return standing.state, standing.seq
