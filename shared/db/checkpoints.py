"""Checkpoints: the state of a stateful stage and the offset it is true for, one row a partition.

Stage state, next offset, incident rows and outbox rows are saved in one transaction; after a crash the engine
reads on from the stored position, and every effect happens once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from shared.bus.port import CommitRefused
from shared.db.base import CHECKPOINTS, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row

    from shared.bus.port import Partition
    from shared.db.engine import Database, Transaction


class Checkpoints:
    """The checkpoints of one database; implements `shared.bus.port.Positions`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._save = insert_or_update(
            CHECKPOINTS,
            keys=("consumer", "topic", "partition"),
            update=("next_offset", "state", "saved_at"),
            newer="next_offset",
        )

    async def load(self, group: str, partition: Partition) -> int | None:
        """The next offset to read, or None where nothing is stored yet."""
        row = await self._row(group, partition)
        return None if row is None else int(row.next_offset)

    async def state(self, group: str, partition: Partition) -> bytes | None:
        """The state saved with that offset, or None where nothing is stored yet."""
        row = await self._row(group, partition)
        return None if row is None else bytes(row.state)

    async def save(
        self,
        tx: Transaction,
        group: str,
        partition: Partition,
        next_offset: int,
        state: bytes = b"",
    ) -> None:
        """Save both in the caller's transaction.

        Raises:
            CommitRefused: a later offset is stored: another member has gone on with this partition. The
                transaction must not be committed, and the state here must be dropped.
        """
        result = await tx.execute(
            self._save,
            {
                "consumer": group,
                "topic": partition.topic,
                "partition": partition.number,
                "next_offset": next_offset,
                "state": state,
                "saved_at": self._database.clock.now(),
            },
        )
        if result.rowcount != 1:
            raise CommitRefused(
                f"{group} {partition.topic}[{partition.number}] was saved beyond {next_offset} already"
            )

    async def _row(self, group: str, partition: Partition) -> Row[Any] | None:
        async with self._database.read() as reader:
            found = await reader.execute(select(CHECKPOINTS).where(*_place(group, partition)))
            return found.one_or_none()


def _place(group: str, partition: Partition) -> tuple[ColumnElement[bool], ...]:
    return (
        CHECKPOINTS.c.consumer == group,
        CHECKPOINTS.c.topic == partition.topic,
        CHECKPOINTS.c.partition == partition.number,
    )
