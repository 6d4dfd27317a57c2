"""All SQL of ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import Insert

from services.ingest.models import streams
from shared.db.base import LEASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


async def finish(tx: Transaction, camera: str, state: str, last_at: int) -> None:
    """The stream ended by itself (`ended`), or was closed (`closed`), at this event time."""
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


async def renew(tx: Transaction, owner: str, names: Sequence[str], until: int) -> Mapping[str, int]:
    """Hold these leases until then, all in one go; returns the generations that are the owner's."""
    if not names:
        return {}
    ours = (LEASES.c.owner == owner, LEASES.c.name.in_(names))
    await tx.execute(update(LEASES).where(*ours).values(expires_at=until))
    found = await tx.execute(select(LEASES.c.name, LEASES.c.generation).where(*ours))
    return {row.name: int(row.generation) for row in found}
