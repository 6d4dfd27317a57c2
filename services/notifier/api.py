"""Channels, subscriptions and deliveries over HTTP. Secrets go in and are shown once, at their making."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.cloudevents import rfc3339
from schemas.events.incident_changes import Severity
from services.notifier.channels import Target
from services.notifier.domain import SECOND, Subscription, new_secret, secret_key
from services.notifier.store import Channel, Delivery, Store
from shared.errors import Conflict, Invalid, NotFound
from shared.security.doors import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.notifier.channels import ChannelKind
    from services.notifier.handlers import CameraNames
    from services.notifier.trial import Trial
    from shared.audit import Audit
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.security.envelope import SecretBox

ROTATION = 24 * 3600 * SECOND  # for so long after a rotation the old secret signs too
MASK = "********"
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewChannel(BaseModel):
    """A channel to be made, with a subscription to everything unless `subscribe` is false."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["webhook"] = "webhook"
    name: Name
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    secret: str | None = None
    subscribe: bool = True
    min_severity: Severity = "info"


class ChannelChange(BaseModel):
    """What may change on a channel; absent fields stay. `rotate` makes a new secret, the old one signs for 24 h more."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool | None = None
    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    secret: str | None = None
    rotate: bool = False


class NewSubscription(BaseModel):
    """Who hears what. Empty lists let everything pass."""

    model_config = ConfigDict(extra="forbid")

    channel: Name
    name: Name
    cameras: Annotated[list[str], Field(max_length=1000)] = []
    rules: Annotated[list[str], Field(max_length=1000)] = []
    min_severity: Severity = "info"


class Desk:
    """What the routes do, so that they stay thin."""

    def __init__(
        self,
        database: Database,
        store: Store,
        clock: Clock,
        *,
        box: SecretBox,
        kinds: Mapping[str, ChannelKind],
        audit: Audit,
    ) -> None:
        self.database = database
        self.store = store
        self.clock = clock
        self.audit = audit
        self._box = box
        self._kinds = kinds

    async def create(self, body: NewChannel) -> dict[str, Any]:
        """Make a channel; the answer shows its secret for the only time."""
        await self._kinds[body.kind].check(Target(url=body.url))
        secret = body.secret or new_secret(secrets.token_bytes(32))
        secret_key(secret)
        now = self.clock.now()
        identity = f"ch_{uuid.uuid4().hex[:16]}"
        channel = Channel(
            id=identity, kind=body.kind, name=body.name, url=body.url,
            secret=self._box.seal(secret, bound_to=_place(identity)), created_at=now,
        )  # fmt: skip
        async with self.database.transaction() as tx:
            if not await self.store.add_channel(tx, channel):
                raise Conflict(f"name: there is a channel {body.name!r} already; choose another")
            if body.subscribe:
                everything = Subscription(
                    id=f"sub_{identity}", channel=identity, name=body.name,
                    min_severity=body.min_severity,
                )  # fmt: skip
                if not await self.store.add_subscription(tx, everything, now):
                    raise Conflict(f"name: there is a subscription {body.name!r} already")
            await tx.add([self.audit.entry("channel.added", f"channel:{identity}")])
        return {**shown(channel), "secret": secret}

    async def change(self, identity: str, body: ChannelChange) -> dict[str, Any]:
        """Change a channel; the mask as secret means unchanged."""
        channel = await self.channel(identity)
        values: dict[str, Any] = {}
        if body.enabled is not None:
            values |= {
                "enabled": body.enabled,
                "disabled_reason": "" if body.enabled else "switched off",
            }
        if body.url is not None:
            await self._kinds[channel.kind].check(Target(url=body.url))
            values["url"] = body.url
        fresh = self._fresh_secret(body)
        if fresh is not None:
            values |= {
                "secret": self._box.seal(fresh, bound_to=_place(channel.id)),
                "old_secret": channel.secret,
                "old_until": self.clock.now() + ROTATION,
            }
        if values:
            async with self.database.transaction() as tx:
                await self.store.change_channel(tx, channel.id, **values)
                told = ", ".join(sorted(values.keys() & {"enabled", "url", "secret"}))
                entry = self.audit.entry("channel.changed", f"channel:{channel.id}", reason=told)
                await tx.add([entry])
        answer = shown(await self.channel(channel.id))
        return answer if fresh is None else {**answer, "secret": fresh}

    def open_secrets(self, channel: Channel) -> tuple[str, ...]:
        """The secrets that sign now, the present one first."""
        sealed = [channel.secret] if channel.secret else []
        if channel.old_secret and channel.old_until > self.clock.now():
            sealed.append(channel.old_secret)
        return tuple(self._box.open(one, bound_to=_place(channel.id)) for one in sealed)

    async def channel(self, identity: str) -> Channel:
        """A channel by id or name, or NotFound."""
        found = await self.store.channel(identity)
        if found is None:
            raise NotFound(f"there is no channel {identity!r}")
        return found

    def _fresh_secret(self, body: ChannelChange) -> str | None:
        if body.rotate:
            return new_secret(secrets.token_bytes(32))
        if body.secret is None or body.secret == MASK:
            return None
        secret_key(body.secret)
        return body.secret


def make_router(desk: Desk, cameras: CameraNames, trial: Trial) -> APIRouter:
    """All routes of the notifier."""
    router = APIRouter(prefix="/api/v1", tags=["notifications"])
    _channel_routes(router, desk, trial)
    _subscription_routes(router, desk, cameras)
    _delivery_routes(router, desk)
    return router


def _channel_routes(router: APIRouter, desk: Desk, trial: Trial) -> None:
    @router.get("/channels", dependencies=[Depends(require("channels:read"))])
    async def list_channels() -> dict[str, Any]:
        return {"items": [shown(channel) for channel in await desk.store.channels()]}

    @router.post("/channels", status_code=201, dependencies=[Depends(require("channels:write"))])
    async def add_channel(body: NewChannel) -> dict[str, Any]:
        return await desk.create(body)

    @router.patch("/channels/{channel}", dependencies=[Depends(require("channels:write"))])
    async def change_channel(channel: str, body: ChannelChange) -> dict[str, Any]:
        return await desk.change(channel, body)

    @router.delete(
        "/channels/{channel}", status_code=204, dependencies=[Depends(require("channels:write"))]
    )
    async def remove_channel(channel: str) -> Response:
        found = await desk.channel(channel)
        if found.kind == "console":
            raise Conflict("the console is always there; switch it off instead")
        async with desk.database.transaction() as tx:
            await desk.store.remove_channel(tx, found.id)
            await tx.add([desk.audit.entry("channel.removed", f"channel:{found.id}")])
        return Response(status_code=204)

    @router.post("/channels/{channel}/test", dependencies=[Depends(require("channels:write"))])
    async def test_channel(channel: str) -> dict[str, Any]:
        return await trial.send(await desk.channel(channel))


def _subscription_routes(router: APIRouter, desk: Desk, cameras: CameraNames) -> None:
    @router.get("/subscriptions", dependencies=[Depends(require("channels:read"))])
    async def list_subscriptions() -> dict[str, Any]:
        return {"items": [msgspec.to_builtins(one) for one in await desk.store.subscriptions()]}

    @router.post(
        "/subscriptions", status_code=201, dependencies=[Depends(require("channels:write"))]
    )
    async def add_subscription(body: NewSubscription) -> dict[str, Any]:
        channel = await desk.channel(body.channel)
        for camera in body.cameras:
            if camera not in cameras:
                raise Invalid(f"cameras: there is no camera {camera!r}", field="cameras")
        subscription = Subscription(
            id=f"sub_{uuid.uuid4().hex[:16]}", channel=channel.id, name=body.name,
            cameras=tuple(body.cameras), rules=tuple(body.rules), min_severity=body.min_severity,
        )  # fmt: skip
        async with desk.database.transaction() as tx:
            if not await desk.store.add_subscription(tx, subscription, desk.clock.now()):
                raise Conflict(f"name: there is a subscription {body.name!r} already")
            what = f"subscription:{subscription.id}"
            entry = desk.audit.entry("subscription.added", what, reason=f"channel:{channel.id}")
            await tx.add([entry])
        return dict(msgspec.to_builtins(subscription))

    @router.delete(
        "/subscriptions/{subscription}",
        status_code=204,
        dependencies=[Depends(require("channels:write"))],
    )
    async def remove_subscription(subscription: str) -> Response:
        async with desk.database.transaction() as tx:
            if not await desk.store.remove_subscription(tx, subscription):
                raise NotFound(f"there is no subscription {subscription!r}")
            entry = desk.audit.entry("subscription.removed", f"subscription:{subscription}")
            await tx.add([entry])
        return Response(status_code=204)


def _delivery_routes(router: APIRouter, desk: Desk) -> None:
    @router.get("/deliveries", dependencies=[Depends(require("channels:read"))])
    async def list_deliveries(
        alert: str | None = None,
        channel: str | None = None,
        state: Literal["pending", "retrying", "delivered", "failed"] | None = None,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        match = {"alert": alert, "channel": channel, "state": state}
        rows = await desk.store.history(
            before=_cursor(cursor),
            limit=limit,
            **{name: value for name, value in match.items() if value},
        )
        last = rows[-1] if len(rows) == limit else None
        following = f"{last.changed_at}.{last.id}" if last else None
        return {"items": [told(row) for row in rows], "next": following}

    @router.get("/deliveries/{delivery}", dependencies=[Depends(require("channels:read"))])
    async def show_delivery(delivery: str) -> dict[str, Any]:
        found = await desk.store.history(before=None, limit=1, id=delivery)
        if not found:
            raise NotFound(f"there is no delivery {delivery!r}")
        tries = await desk.store.receipts(delivery)
        return {**told(found[0]), "receipts": [{**one, "at": rfc3339(one["at"])} for one in tries]}

    @router.post(
        "/deliveries/{delivery}/resend",
        status_code=202,
        dependencies=[Depends(require("channels:write"))],
    )
    async def resend(delivery: str) -> dict[str, str]:
        async with desk.database.transaction() as tx:
            if not await desk.store.resend(tx, delivery, desk.clock.now()):
                raise Conflict(f"delivery {delivery!r} has not failed; nothing to send again")
            await tx.add([desk.audit.entry("delivery.resent", f"delivery:{delivery}")])
        return {"delivery": delivery, "state": "pending"}


def shown(channel: Channel) -> dict[str, Any]:
    """A channel as everybody may see it."""
    return {
        "id": channel.id,
        "kind": channel.kind,
        "name": channel.name,
        "url": channel.url,
        "secret": MASK if channel.secret else "",
        "enabled": channel.enabled,
        "disabled_reason": channel.disabled_reason,
    }


def told(delivery: Delivery) -> dict[str, Any]:
    """A delivery as the API tells it."""
    return {
        "id": delivery.id,
        "alert": delivery.alert.alert,
        "incident": delivery.alert.incident,
        "camera": delivery.alert.camera,
        "title": delivery.alert.title,
        "severity": delivery.alert.severity,
        "subscription": delivery.subscription,
        "channel": delivery.channel,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "detail": delivery.detail,
        "next_at": rfc3339(delivery.next_at) if delivery.next_at is not None else None,
        "changed_at": rfc3339(delivery.changed_at),
    }


def _place(channel: str) -> str:
    return f"notifier.channels.{channel}.secret"


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at, dot, identity = text.partition(".")
    if not dot or not at.isdigit() or len(at) > 18:
        raise Invalid(
            f"cursor: {text!r} is none of ours; use the `next` of an answer", field="cursor"
        )
    return int(at), identity
