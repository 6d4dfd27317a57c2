"""The audit trail: who did what, said in the transaction that did it. Ids alone, no names, addresses or secrets.

The caller of a request is known once its door has let it in; what is done for it later in the same request is
recorded under its id. What is done without a request is the system's own deed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, NamedTuple

from schemas.events.audit_recorded import AuditRecorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.event import Envelope
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.security.principal import Principal

Kind = Literal["user", "client", "service", "owner", "system", "nobody"]
LONGEST = {"object": 256, "reason": 256}
_acting: ContextVar[Principal | None] = ContextVar("acting", default=None)


@contextmanager
def request() -> Iterator[None]:
    """One request: nobody acts in it until its door says who; the caller around it acts on afterwards."""
    token = _acting.set(None)
    try:
        yield
    finally:
        _acting.reset(token)


def acts(principal: Principal) -> None:
    """From here to the end of the request this caller acts."""
    _acting.set(principal)


class Actor(NamedTuple):
    """Who did it."""

    id: str
    kind: Kind


SYSTEM = Actor("system", "system")
NOBODY = Actor("nobody", "nobody")
"""A caller that could not say who it is, as in a sign-in that was refused."""


def _caller() -> Actor:
    who = _acting.get()
    return SYSTEM if who is None else Actor(who.subject, who.kind)


class Audit:
    """Makes entries for one service."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock

    def entry(
        self,
        action: str,
        what: str,
        *,
        outcome: Literal["done", "refused"] = "done",
        reason: str = "",
        by: Actor | None = None,
    ) -> Envelope:
        """An entry about `what`, e.g. `camera:door`; it goes into the outbox with the change it tells of.

        by: who did it where that is not the caller that a door let in.
        """
        actor = by or _caller()
        return self._publisher.mint(
            AuditRecorded(
                actor=actor.id[:64],
                actor_kind=actor.kind,
                action=action,
                object=what[: LONGEST["object"]],
                outcome=outcome,
                reason=reason[: LONGEST["reason"]],
                recorded_at=self._clock.now(),
            )
        )
