"""How the notifier starts: its objects, made by hand."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from schemas import topics
from services.notifier.api import Desk, make_router
from services.notifier.channels import open_channels
from services.notifier.domain import Subscription as Listener
from services.notifier.handlers import GROUP, AlertHandler, CameraNames, IncidentHandler
from services.notifier.messages import Messages
from services.notifier.sender import Sender
from services.notifier.settings import NotifierSettings
from services.notifier.store import Channel, Store
from services.notifier.trial import Trial
from shared.audit import Audit
from shared.bus.port import Subscription
from shared.service import Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.db.engine import Database
    from shared.platform import ServicePlatform
    from shared.settings import PlatformSettings

CONSOLE = Channel(id="console", kind="console", name="console")
CONSOLE_LISTENER = Listener(id="console", channel="console", name="console")


@asynccontextmanager
async def start(platform: ServicePlatform, settings: NotifierSettings) -> AsyncIterator[Running]:
    """Open the channels and wire alerts to deliveries."""
    database, clock = platform.database, platform.clock
    store = Store(database)
    await _ensure_console(database, store, clock.now())
    async with open_channels(platform.egress, settings.timeout) as kinds:
        audit = Audit(platform.publisher, clock)
        desk = Desk(database, store, clock, box=platform.secrets, kinds=kinds, audit=audit)
        cameras = CameraNames()
        messages = Messages(_base_url(platform.settings))
        sender = Sender(
            database, store, platform.publisher, clock,
            kinds=kinds, messages=messages, cameras=cameras, open_secret=desk.open_secrets,
            jitter=lambda: secrets.randbelow(1000) / 1000, owner=platform.instance,
            metrics=platform.metrics, spans=platform.spans, per_channel=settings.per_channel,
            in_flight=settings.in_flight,
        )  # fmt: skip
        yield Running(
            router=make_router(desk, cameras, Trial(kinds, messages, clock, desk.open_secrets)),
            subscriptions=[
                Subscription(
                    topics=(topics.ALERTS,),
                    group=GROUP,
                    handler=AlertHandler(database, store, clock, sender.wake),
                ),
                Subscription(
                    topics=(topics.INCIDENTS,),
                    group=f"{GROUP}-incidents",
                    handler=IncidentHandler(database, store),
                ),
                Subscription(
                    topics=(topics.CAMERAS,),
                    group=f"{GROUP}-cameras",
                    kind="table",
                    handler=cameras,
                ),
            ],
            jobs={"sender": sender.run, "count": sender.count},
        )


def _base_url(settings: PlatformSettings) -> str:
    """Where people reach the console: VANTAGE_PUBLIC_URL, else the gateway."""
    return (settings.public_url or settings.gateway_url).rstrip("/")


async def _ensure_console(database: Database, store: Store, now: int) -> None:
    """The console is a channel like any other, there from the first start."""
    async with database.transaction() as tx:
        if await store.add_channel(tx, CONSOLE):
            await store.add_subscription(tx, CONSOLE_LISTENER, now)


SERVICE = Service(
    name="notifier",
    port=8006,
    settings=NotifierSettings,
    consumes=(topics.ALERTS, topics.INCIDENTS, topics.CAMERAS),
    produces=(topics.DELIVERIES, topics.AUDIT),
    start=start,
    migrations="services.notifier.migrations",
    description="Delivers each alert once to every subscription that wants it, and says what became of it.",
)
