"""All SQL of ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from sqlalchemy import and_, bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import Insert

from services.ingest.models import members, streams
from services.ingest.roster import Row
from shared.db.base import LEASES
from shared.db.leases import Lease, fence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.db.engine import Reader, Transaction

LEASE_PREFIX = "camera/"


class Stream(NamedTuple):
    """What is stored of a camera's stream."""

    camera: str
    epoch: int
    lease: int
    state: str
    url: str
    opened_at: int
    last_at: int
    position: int


class Mark(NamedTuple):
    """How far a stream has come: event time, and position in its film."""

    camera: str
    lease: int
    last_at: int
    position: int


async def load(reader: Reader, camera: str) -> Stream | None:
    """The stored stream of a camera."""
    row = (await reader.execute(select(streams).where(streams.c.camera == camera))).one_or_none()
    return None if row is None else Stream(*row)


async def begin(tx: Transaction, stream: Stream) -> int:
    """A new epoch of a camera's stream begins; returns its number, +1 at each call (`stream.epoch` is the first)."""
    statement = Insert(streams)
    given = statement.excluded
    raised = statement.on_conflict_do_update(
        index_elements=["camera"],
        set_={
            "epoch": streams.c.epoch + 1,
            **{name: given[name] for name in Stream._fields if name not in ("camera", "epoch")},
        },
    ).returning(streams.c.epoch)
    return int((await tx.execute(raised, stream._asdict())).scalar_one())


async def finish(tx: Transaction, lease: Lease, camera: str, state: str, last_at: int) -> None:
    """The stream ended by itself (`ended`), or was closed (`closed`), at this event time.

    Raises:
        LeaseLost: another process speaks for the camera now.
    """
    await fence(tx, lease)
    values = {"state": state, "last_at": last_at}
    await tx.execute(update(streams).where(streams.c.camera == camera).values(values))


async def note(tx: Transaction, marks: Sequence[Mark]) -> None:
    """Store how far streams have come; those of a lost lease stay as its new holder left them."""
    if not marks:
        return
    statement = (
        update(streams)
        .where(streams.c.camera == bindparam("of"), streams.c.lease == bindparam("held"))
        .values(last_at=bindparam("at"), position=bindparam("place"))
    )
    await tx.execute(
        statement,
        [
            {"of": mark.camera, "held": mark.lease, "at": mark.last_at, "place": mark.position}
            for mark in marks
        ],
    )


async def renew(tx: Transaction, owner: str, names: Sequence[str], until: int) -> None:
    """Hold these leases until then, all in one go; those of another owner stay as they are."""
    if names:
        ours = (LEASES.c.owner == owner, LEASES.c.name.in_(names))
        await tx.execute(update(LEASES).where(*ours).values(expires_at=until))


async def holders(reader: Reader) -> Mapping[str, Lease]:
    """The lease of every camera that ever had one, by camera; `expires_at` 0: it was given back."""
    found = await reader.execute(
        select(LEASES).where(LEASES.c.name.startswith(LEASE_PREFIX, autoescape=True))
    )
    leases = (
        Lease(name=row.name, owner=row.owner, generation=row.generation, expires_at=row.expires_at)
        for row in found
    )
    return {lease.name.removeprefix(LEASE_PREFIX): lease for lease in leases}


async def take(tx: Transaction, lease: Lease, seen: Lease | None) -> Lease | None:
    """Take a camera's lease; None where somebody else did since it was `seen`. Its generation grows by one."""
    statement = Insert(LEASES)
    given, stored = statement.excluded, LEASES.c
    as_seen = or_(stored.owner == given.owner, stored.expires_at == 0)
    if seen is not None:
        as_seen = or_(
            as_seen, and_(stored.owner == seen.owner, stored.generation == seen.generation)
        )
    taking = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "owner": given.owner,
            "generation": stored.generation + 1,
            "expires_at": given.expires_at,
        },
        where=as_seen,
    ).returning(stored.generation)
    values = {
        "name": lease.name,
        "owner": lease.owner,
        "generation": lease.generation,
        "expires_at": lease.expires_at,
    }
    generation = (await tx.execute(taking, values)).scalar_one_or_none()
    return None if generation is None else msgspec.structs.replace(lease, generation=generation)


async def release(tx: Transaction, leases: Iterable[Lease]) -> None:
    """Give leases back; nothing happens to those that were lost already."""
    for lease in leases:
        mine = (LEASES.c.name == lease.name, LEASES.c.generation == lease.generation)
        await tx.execute(
            update(LEASES).where(*mine, LEASES.c.owner == lease.owner).values(expires_at=0)
        )


async def roll(reader: Reader) -> Sequence[Row]:
    """The processes that share the cameras."""
    return [Row(*row) for row in await reader.execute(select(members).order_by(members.c.name))]


async def enroll(tx: Transaction, row: Row) -> None:
    """Join, in place of a former process of this name."""
    statement = Insert(members)
    joining = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={name: statement.excluded[name] for name in ("life", "beat", "room")},
    )
    await tx.execute(joining, row._asdict())


async def beat(tx: Transaction, row: Row) -> None:
    """Show that this process lives; nothing happens where another one has taken its name."""
    await tx.execute(
        update(members)
        .where(members.c.name == row.name, members.c.life == row.life)
        .values(beat=members.c.beat + 1)
    )


async def strike(tx: Transaction, rows: Iterable[Row]) -> None:
    """Take members off the roll: as they were seen, not one that has come back since."""
    for row in rows:
        seen = (members.c.life == row.life, members.c.beat == row.beat)
        await tx.execute(delete(members).where(members.c.name == row.name, *seen))


async def resign(tx: Transaction, row: Row) -> None:
    """Leave the roll; a newer process of the same name stays on it."""
    mine = (members.c.name == row.name, members.c.life == row.life)
    await tx.execute(delete(members).where(*mine))
