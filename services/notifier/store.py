"""All SQL of the notifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import and_, case, delete, func, or_, select, update

from schemas.events.alert_raised import AlertRaised
from services.notifier.domain import Subscription, delivery_id
from services.notifier.models import channels, deliveries, receipts, subscriptions
from shared.db.base import insert_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping

    from services.notifier.domain import Answer
    from shared.db.engine import Database, Transaction

_SUBSCRIPTION = msgspec.json.Decoder(Subscription)
_ALERT = msgspec.json.Decoder(AlertRaised)
_ENCODER = msgspec.json.Encoder()
WAITING = ("pending", "retrying")


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A way out. `secret` and `old_secret` are sealed."""

    id: str
    kind: str
    name: str
    url: str = ""
    secret: str = ""
    old_secret: str = ""
    old_until: int = 0
    enabled: bool = True
    disabled_reason: str = ""
    created_at: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One alert on its way to one subscription."""

    id: str
    alert: AlertRaised
    subscription: str
    channel: str
    kind: str
    state: str
    attempt: int
    next_at: int | None
    incident_state: str
    detail: str
    created_at: int
    changed_at: int
    traceparent: str = ""
    correlation: str = ""


class Wanted(NamedTuple):
    """An alert that a subscription wants, by a channel of this kind."""

    alert: AlertRaised
    listener: Subscription
    kind: str
    traceparent: str = ""
    correlation: str = ""


class Store:
    """Reads and writes of the notifier; every write takes the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def channels(self) -> list[Channel]:
        """All channels, oldest first."""
        async with self._database.read() as reader:
            rows = await reader.execute(
                select(channels).order_by(channels.c.created_at, channels.c.id)
            )
            return [_channel(row) for row in rows.mappings()]

    async def channel(self, identity: str) -> Channel | None:
        """One channel, by id or by name."""
        async with self._database.read() as reader:
            found = await reader.execute(
                select(channels).where(or_(channels.c.id == identity, channels.c.name == identity))
            )
            row = found.mappings().first()
            return _channel(row) if row else None

    async def add_channel(self, tx: Transaction, channel: Channel) -> bool:
        """Add a channel; False when its name is taken."""
        values = msgspec.structs.asdict(channel)
        added = await tx.execute(insert_new(channels).values(**values).returning(channels.c.id))
        return added.first() is not None

    async def change_channel(self, tx: Transaction, identity: str, **values: object) -> bool:
        """Change columns of a channel; False when there is none."""
        done = await tx.execute(
            update(channels)
            .where(channels.c.id == identity)
            .values(**values)
            .returning(channels.c.id)
        )
        return done.first() is not None

    async def remove_channel(self, tx: Transaction, identity: str) -> bool:
        """Remove a channel and its subscriptions; False when there is none."""
        await tx.execute(delete(subscriptions).where(subscriptions.c.channel == identity))
        done = await tx.execute(
            delete(channels).where(channels.c.id == identity).returning(channels.c.id)
        )
        return done.first() is not None

    async def subscriptions(self) -> list[Subscription]:
        """All subscriptions, oldest first."""
        async with self._database.read() as reader:
            rows = await reader.execute(
                select(subscriptions.c.filters).order_by(
                    subscriptions.c.created_at, subscriptions.c.id
                )
            )
            return [_SUBSCRIPTION.decode(row[0]) for row in rows]

    async def add_subscription(self, tx: Transaction, subscription: Subscription, now: int) -> bool:
        """Add a subscription; False when its name is taken."""
        added = await tx.execute(
            insert_new(subscriptions)
            .values(
                id=subscription.id,
                channel=subscription.channel,
                name=subscription.name,
                filters=_ENCODER.encode(subscription),
                created_at=now,
            )
            .returning(subscriptions.c.id)
        )
        return added.first() is not None

    async def remove_subscription(self, tx: Transaction, identity: str) -> bool:
        """Remove a subscription; what it was owed is still delivered. False when there is none."""
        done = await tx.execute(
            delete(subscriptions)
            .where(subscriptions.c.id == identity)
            .returning(subscriptions.c.id)
        )
        return done.first() is not None

    async def add_deliveries(
        self,
        tx: Transaction,
        wanted: Sequence[Wanted],
        now: int,
    ) -> None:
        """A row for each, due at once; rows that stand are left alone."""
        if not wanted:
            return
        rows = [
            {
                "id": delivery_id(one.alert.alert, one.listener.id),
                "alert": one.alert.alert,
                "incident": one.alert.incident,
                "camera": one.alert.camera,
                "subscription": one.listener.id,
                "channel": one.listener.channel,
                "kind": one.kind,
                "state": "pending",
                "attempt": 0,
                "next_at": now,
                "claimed_by": "",
                "claimed_until": 0,
                "event": _ENCODER.encode(one.alert),
                "incident_state": "OPEN",
                "detail": "",
                "created_at": now,
                "changed_at": now,
                "traceparent": one.traceparent,
                "correlation": one.correlation,
            }
            for one in wanted
        ]
        await tx.execute(insert_new(deliveries), rows)

    async def claim(
        self, tx: Transaction, owner: str, now: int, until: int, *, limit: int, skip: Sequence[str]
    ) -> list[Delivery]:
        """Claim due deliveries for `owner` until `until`, the longest waiting first, of channels not in `skip`.

        What another notifier is claiming at this moment is passed over.
        """
        ready = select(deliveries.c.id).where(
            deliveries.c.state.in_(WAITING),
            deliveries.c.next_at <= now,
            deliveries.c.claimed_until <= now,
            deliveries.c.channel.not_in(skip),
        )
        ready = ready.order_by(deliveries.c.next_at, deliveries.c.id).limit(limit)
        mine = ready.with_for_update(skip_locked=True).cte("mine")
        claimed = await tx.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(select(mine.c.id)))
            .values(claimed_by=owner, claimed_until=until)
            .returning(deliveries)
        )
        rows = [_delivery(row) for row in claimed.mappings()]
        return sorted(rows, key=lambda one: (one.next_at or 0, one.id))

    async def release(self, tx: Transaction, owner: str) -> None:
        """Let go of all claims of `owner`: it starts anew, or stops."""
        await tx.execute(
            update(deliveries)
            .where(deliveries.c.claimed_by == owner)
            .values(claimed_by="", claimed_until=0)
        )

    async def next_due(self) -> int | None:
        """When the next delivery is due."""
        waiting = deliveries.c.state.in_(WAITING)
        async with self._database.read() as reader:
            found = await reader.execute(select(func.min(deliveries.c.next_at)).where(waiting))
            earliest: int | None = found.scalar_one_or_none()
            return earliest

    async def waiting(self, now: int) -> tuple[int, int]:
        """How many deliveries are due, and how many are tried later."""
        due = func.sum(case((deliveries.c.next_at <= now, 1), else_=0))
        statement = select(func.count(), func.coalesce(due, 0)).where(
            deliveries.c.state.in_(WAITING)
        )
        async with self._database.read() as reader:
            waiting, due_now = (await reader.execute(statement)).one()
            return int(due_now), int(waiting) - int(due_now)

    async def settle(
        self, tx: Transaction, delivery: Delivery, *, state: str, next_at: int | None, answer: Answer,
        took_ms: int, now: int, owner: str,
    ) -> bool:  # fmt: skip
        """Write down what a try of `owner` came to, with its receipt.

        False where its claim ran out and the delivery has gone on without it: nothing is written.
        """
        attempt = delivery.attempt + 1
        done = await tx.execute(
            update(deliveries)
            .where(
                deliveries.c.id == delivery.id,
                deliveries.c.claimed_by == owner,
                deliveries.c.attempt == delivery.attempt,
            )
            .values(
                state=state,
                attempt=attempt,
                next_at=next_at,
                detail=answer.detail,
                changed_at=now,
                claimed_by="",
                claimed_until=0,
            )
            .returning(deliveries.c.id)
        )
        if done.first() is None:
            return False
        await tx.execute(
            insert_new(receipts).values(
                delivery=delivery.id,
                attempt=attempt,
                at=now,
                status=answer.status,
                detail=answer.detail,
                took_ms=took_ms,
            )
        )
        return True

    async def resend(self, tx: Transaction, identity: str, now: int) -> bool:
        """Make a delivery due again under the same id; False when there is none that failed."""
        done = await tx.execute(
            update(deliveries)
            .where(deliveries.c.id == identity, deliveries.c.state == "failed")
            .values(state="pending", next_at=now, attempt=0, changed_at=now)
            .returning(deliveries.c.id)
        )
        if done.first() is None:
            return False
        await tx.execute(delete(receipts).where(receipts.c.delivery == identity))
        return True

    async def incident_moved(self, tx: Transaction, incident: str, state: str) -> None:
        """Remember an incident's state, so that a late delivery tells it."""
        await tx.execute(
            update(deliveries).where(deliveries.c.incident == incident).values(incident_state=state)
        )

    async def history(
        self, *, before: tuple[int, str] | None, limit: int, **match: str
    ) -> list[Delivery]:
        """Deliveries, newest change first, after the cursor `before` (changed_at, id)."""
        statement = select(deliveries).order_by(
            deliveries.c.changed_at.desc(), deliveries.c.id.desc()
        )
        for column, value in match.items():
            statement = statement.where(deliveries.c[column] == value)
        if before is not None:
            at, identity = before
            same = and_(deliveries.c.changed_at == at, deliveries.c.id < identity)
            statement = statement.where(or_(deliveries.c.changed_at < at, same))
        async with self._database.read() as reader:
            rows = await reader.execute(statement.limit(limit))
            return [_delivery(row) for row in rows.mappings()]

    async def receipts(self, delivery: str) -> list[dict[str, Any]]:
        """Every try of a delivery, in order."""
        async with self._database.read() as reader:
            rows = await reader.execute(
                select(receipts).where(receipts.c.delivery == delivery).order_by(receipts.c.attempt)
            )
            return [dict(row) for row in rows.mappings()]


def _channel(row: RowMapping) -> Channel:
    return Channel(**{name: row[name] for name in Channel.__struct_fields__})


def _delivery(row: RowMapping) -> Delivery:
    values = {name: row[name] for name in Delivery.__struct_fields__ if name != "alert"}
    return Delivery(alert=_ALERT.decode(row["event"]), **values)
