"""Leases: who may do a thing alone, for how long, and with which fencing token.

- A *lease* belongs to one owner until it expires, is released, or its owner's name takes it again.
- Its *generation* grows by one at every taking and never falls: whoever acts under a lease sends the generation
  along, and who receives it drops what comes with a lower one than it has seen.
- An *owner* is a stable name (`VANTAGE_INSTANCE`): a restarted process takes its own leases back at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import Insert

from shared.db.base import LEASES
from shared.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Update
    from sqlalchemy.sql.dml import ReturningInsert

    from shared.clock import Clock
    from shared.db.engine import Database, Reader, Transaction


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as it was when taken or renewed. `generation` is the fencing token."""

    name: str
    owner: str
    generation: int
    expires_at: int  # microseconds UTC


class LeaseLost(Conflict):
    """Another owner has taken the lease: stop acting under it."""

    code = "lease_lost"


class Leases:
    """The leases of one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Take it for `ttl` seconds, or None while another owner holds it."""
        now = self._clock.now()
        until = now + round(ttl * 1_000_000)
        async with self._database.transaction() as tx:
            result = await tx.execute(
                _take(now),
                {"name": name, "owner": owner, "generation": 1, "expires_at": until},
            )
            generation = result.scalar_one_or_none()
        if generation is None:
            return None
        return Lease(name=name, owner=owner, generation=generation, expires_at=until)

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Hold it for `ttl` seconds from now, or None when it was taken by another meanwhile."""
        until = self._clock.now() + round(ttl * 1_000_000)
        async with self._database.transaction() as tx:
            result = await tx.execute(_mine(lease).values(expires_at=until))
        return msgspec.structs.replace(lease, expires_at=until) if result.rowcount == 1 else None

    async def release(self, lease: Lease) -> None:
        """Give it back; the next owner need not wait. Nothing happens when it is lost already."""
        async with self._database.transaction() as tx:
            await tx.execute(_mine(lease).values(expires_at=0))

    async def held(self, prefix: str = "") -> Sequence[Lease]:
        """The leases that stand now, whose names begin with `prefix`."""
        async with self._database.read() as reader:
            return await standing(reader, prefix, now=self._clock.now())


async def fence(tx: Transaction, lease: Lease) -> None:
    """Let the transaction go on only while the lease is still ours.

    Raises:
        LeaseLost: another owner has it; the transaction must not be committed.
    """
    result = await tx.execute(_mine(lease).values(owner=lease.owner))
    if result.rowcount != 1:
        raise LeaseLost(
            f"lease {lease.name} generation {lease.generation} was taken from {lease.owner}"
        )


async def standing(reader: Reader, prefix: str, *, now: int) -> Sequence[Lease]:
    """The leases that stand at `now`, whose names begin with `prefix`, by name."""
    found = await reader.execute(
        select(LEASES)
        .where(LEASES.c.name.startswith(prefix, autoescape=True), LEASES.c.expires_at > now)
        .order_by(LEASES.c.name)
    )
    return [
        Lease(name=row.name, owner=row.owner, generation=row.generation, expires_at=row.expires_at)
        for row in found
    ]


def _take(now: int) -> ReturningInsert[int]:
    statement = Insert(LEASES)
    given = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "owner": given.owner,
            "generation": LEASES.c.generation + 1,
            "expires_at": given.expires_at,
        },
        where=or_(LEASES.c.owner == given.owner, LEASES.c.expires_at <= now),
    ).returning(LEASES.c.generation)


def _mine(lease: Lease) -> Update:
    return update(LEASES).where(
        LEASES.c.name == lease.name,
        LEASES.c.owner == lease.owner,
        LEASES.c.generation == lease.generation,
    )
