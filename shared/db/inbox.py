"""The inbox: which events a consumer has applied, kept in the transaction that applied them.

Low-rate facts only. What comes at a high rate is told apart by its position or by (camera, epoch, seq).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, or_, select

from shared.db.base import INBOX, insert_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Executable

    from shared.clock import Clock
    from shared.db.engine import Database

KEEP_DAYS = 400  # longer than the longest retention of a topic (365 days): a replay finds its marks
BATCH = 1000
_DAY_US = 86_400_000_000


INSERT = insert_new(INBOX).returning(INBOX.c.event_id)
"""Takes `rows` and answers the event ids that are new."""


def rows(consumer: str, ids: Sequence[str], *, at: int) -> list[dict[str, Any]]:
    """Marks for event ids."""
    return [{"consumer": consumer, "event_id": id, "seen_at": at} for id in dict.fromkeys(ids)]


class InboxExpiry:
    """Forgets marks older than `keep_days`, a batch a transaction so that nobody waits for it."""

    def __init__(self, database: Database, clock: Clock, *, keep_days: float = KEEP_DAYS) -> None:
        self._database = database
        self._clock = clock
        self._keep_us = round(keep_days * _DAY_US)

    async def run(self, *, every_s: float = 3600.0) -> None:
        """Expire now and then every hour, until cancelled."""
        while True:
            await self.expire()
            await asyncio.sleep(every_s)

    async def expire(self) -> int:
        """Expire once; returns how many marks were forgotten."""
        before, total = self._clock.now() - self._keep_us, 0
        while True:
            async with self._database.transaction() as tx:
                await tx.alone("inbox-expiry")
                old = await tx.execute(_old(before))
                marks = [(row.consumer, row.event_id) for row in old]
                if marks:
                    await tx.execute(_forget(marks))
            total += len(marks)
            if len(marks) < BATCH:
                return total


def _old(before: int) -> Executable:
    columns = select(INBOX.c.consumer, INBOX.c.event_id)
    return columns.where(INBOX.c.seen_at < before).limit(BATCH)


def _forget(marks: Sequence[tuple[str, str]]) -> Executable:
    by_consumer: dict[str, list[str]] = {}
    for consumer, event_id in marks:
        by_consumer.setdefault(consumer, []).append(event_id)
    return delete(INBOX).where(
        or_(
            *(
                and_(INBOX.c.consumer == consumer, INBOX.c.event_id.in_(ids))
                for consumer, ids in by_consumer.items()
            )
        )
    )
