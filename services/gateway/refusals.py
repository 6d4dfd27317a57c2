"""What was refused at the door, in the audit trail: the first at once, its repeats as one entry with their number.

A flood costs a bounded number of entries: repeats within a minute are counted, and of more kinds than `MOST` only
their number is kept. The trail holds no addresses: the caller's stands in it as a pseudonym, in the log as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from shared.audit import NOBODY, Actor, Audit
from shared.errors import Transient
from shared.http import client_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import HTTPConnection

    from schemas.event import Envelope
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.security.principal import Principal

WINDOW_S = 60.0
MOST = 30  # kinds of refusals that are told apart within the window; each costs two entries at most
LOOK_S = 1.0
OTHERS = "gateway:others"
log = structlog.get_logger(component="refusals")


class Refusal(NamedTuple):
    """Who was refused what, why, and from which address: what is alike in all this is counted together."""

    by: Actor
    action: str
    what: str
    why: str
    address: str


class _Repeats(msgspec.Struct):
    """How often it came again within the window, which ends at `until` (monotonic seconds)."""

    until: float
    more: int = 0


class Refusals:
    """Says refusals. `pseudonyms`: what stands for an address in the trail, the one of today first."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        clock: Clock,
        pseudonyms: Callable[[str], Sequence[str]],
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._pseudonyms = pseudonyms
        self._seen: dict[Refusal, _Repeats] = {}
        self._telling = asyncio.Lock()

    async def say(
        self, action: str, what: str, why: str, *, address: str, by: Actor = NOBODY
    ) -> None:
        """Say that somebody was refused. Where the database is away it is said later: the refusal stands."""
        refusal = Refusal(by, action, what, why, address)
        if refusal not in self._seen and len(self._seen) >= MOST:
            refusal = Refusal(NOBODY, action, OTHERS, "more kinds than are told apart", "")
        found = self._seen.get(refusal)
        if found is not None:
            found.more += 1
            return
        first = self._seen[refusal] = _Repeats(self._clock.monotonic() + WINDOW_S)
        if not await self._written({refusal: 0}):
            first.more += 1

    async def lacks(
        self, connection: HTTPConnection, principal: Principal, scope: str, path: str
    ) -> None:
        """Say that a caller lacks a scope; for the guard."""
        method = connection.scope.get("method", "WEBSOCKET")
        await self.say(
            "call.made",
            f"way:{method} {path}",
            f"lacks {scope}",
            address=client_address(connection),
            by=Actor(principal.subject, principal.kind),
        )

    async def flush(self) -> None:
        """Say the repeats of all windows now, as at the end of a process."""
        await self._tell(list(self._seen))

    async def keep(self) -> None:
        """Say the repeats of each window when it is over; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._clock.monotonic()
            await self._tell([one for one, found in self._seen.items() if found.until <= now])

    async def _tell(self, over: Sequence[Refusal]) -> None:
        """Say the repeats of these and forget them; those that cannot be said now stay counted."""
        async with self._telling:
            counts = {one: self._seen[one].more for one in over if one in self._seen}
            repeated = {one: more for one, more in counts.items() if more}
            written = not repeated or await self._written(repeated)
            for one, more in counts.items() if written else ():
                found = self._seen[one]
                found.more -= more
                found.until = self._clock.monotonic() + WINDOW_S
                if not found.more:
                    del self._seen[one]

    async def _written(self, counts: Mapping[Refusal, int]) -> bool:
        for one, more in counts.items():
            log.warning(
                "refused", action=one.action, object=one.what, actor=one.by.id, reason=one.why,
                address=one.address, more=more,
            )  # fmt: skip
        try:
            async with self._database.transaction() as tx:
                await tx.add([self._entry(one, more) for one, more in counts.items()])
        except Transient as error:
            log.warning("refusals_wait", reason=str(error))
            return False
        return True

    def _entry(self, refusal: Refusal, more: int) -> Envelope:
        parts = [refusal.why]
        if refusal.address:
            parts.append(f"from {self._pseudonyms(refusal.address)[0]}")
        if more:
            parts.append(f"{more} times more within {WINDOW_S:g} s")
        return self._audit.entry(
            refusal.action,
            refusal.what,
            outcome="refused",
            reason=", ".join(parts),
            by=refusal.by,
        )
