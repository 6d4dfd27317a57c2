"""What is old or too much goes: oldest arrivals first, a batch a statement."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from services.vms.models import (
    ALERTS,
    DETECTIONS,
    INCIDENTS,
    TRACK_SECONDS,
    TRACKS,
    TRANSITIONS,
)

if TYPE_CHECKING:
    from sqlalchemy import Table

    from shared.db.engine import Transaction

BATCH = 5000
HIGH_RATE: tuple[Table, ...] = (DETECTIONS,)
TRACKED: tuple[Table, ...] = (TRACK_SECONDS, TRACKS)
DECISIONS: tuple[Table, ...] = (INCIDENTS, TRANSITIONS, ALERTS)


async def expire(tx: Transaction, table: Table, *, before: int, most: int) -> int:
    """Remove up to `BATCH` rows that were stored before `before` or stand behind the newest `most`.

    Rows are numbered as they arrive, so the newest `most` are found without counting. Returns how many went.
    """
    await tx.alone(f"expire/{table.name}")
    newest = (await tx.execute(select(func.max(table.c.id)))).scalar_one_or_none()
    if newest is None:
        return 0
    oldest = await tx.execute(
        select(table.c.id, table.c.stored_at).order_by(table.c.id).limit(BATCH)
    )
    past = takewhile(lambda row: row.stored_at < before or row.id <= newest - most, oldest)
    last = max((row.id for row in past), default=None)
    if last is None:
        return 0
    return (await tx.execute(delete(table).where(table.c.id <= last))).rowcount
