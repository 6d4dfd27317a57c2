"""The outbox: events that become true with the rows of their transaction and wait for the relay.

An event stands here from its commit until the log has acknowledged it; the row itself is the mark. Nothing
remembers "the last id": rows commit out of order on a database with many writers, and such a cursor skips them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select

from schemas.cloudevents import decode, encode
from shared.db.base import OUTBOX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Delete, Row, Select

    from schemas.event import Envelope


INSERT = insert(OUTBOX)
"""Takes `rows`."""


def rows(envelopes: Sequence[Envelope], *, at: int) -> list[dict[str, Any]]:
    """Envelopes as rows, encoded as they will stand on the log."""
    return [_row(envelope, at) for envelope in envelopes]


def oldest(limit: int) -> Select[Any]:
    """The rows that wait longest, in the order of their coming."""
    return select(OUTBOX).order_by(OUTBOX.c.id).limit(limit)


def remove(ids: Sequence[int]) -> Delete:
    """Take out rows that the log has acknowledged."""
    return delete(OUTBOX).where(OUTBOX.c.id.in_(ids))


def backlog() -> Select[int, int | None]:
    """How many rows wait, and since when the oldest does: by index alone, however wide the rows are."""
    oldest_at = select(OUTBOX.c.added_at).order_by(OUTBOX.c.id).limit(1).scalar_subquery()
    return select(func.count(), oldest_at).select_from(OUTBOX)


def envelope(row: Row[Any]) -> Envelope:
    """The envelope of a row: the same id, however often it is read."""
    headers = tuple((name, value.encode()) for name, value in row.headers)
    return decode(row.topic, row.key, headers, row.value)


def _row(envelope: Envelope, at: int) -> dict[str, Any]:
    headers, value = encode(envelope)
    return {
        "event_id": envelope.id,
        "topic": envelope.topic,
        "key": envelope.key,
        "headers": [[name, value.decode()] for name, value in headers],
        "value": value,
        "added_at": at,
    }
