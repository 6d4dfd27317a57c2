"""How the dashboard starts: its objects, made by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from schemas import topics
from services.dashboard.api import Live, make_router
from services.dashboard.handlers import Cameras, Happenings, Pictures
from services.dashboard.hub import Hub
from services.dashboard.settings import DashboardSettings
from shared.bus.port import Subscription
from shared.service import Health, Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.platform import ServicePlatform

GROUP = "dashboard"
HEARD = (
    topics.TRACKS_LIVE,
    topics.INCIDENTS,
    topics.ALERTS,
    topics.CAMERA_STATUS,
    topics.DELIVERIES,
)


@asynccontextmanager
async def start(platform: ServicePlatform, settings: DashboardSettings) -> AsyncIterator[Running]:
    """Wire the live topics to the open pages."""
    skipped = platform.metrics.pictures_skipped
    hub = Hub(limit=settings.viewers, backlog=settings.backlog, skipped=skipped.inc)
    platform.metrics.websockets.set_function(lambda: hub.viewers)

    async def pages() -> Health:
        return Health(status="healthy", details={"open": hub.viewers})

    yield Running(
        router=make_router(Live(hub, platform.guard, settings.recheck)),
        subscriptions=[
            Subscription(
                topics=(topics.FRAMES,), group=f"{GROUP}-frames", kind="tail", handler=Pictures(hub)
            ),
            Subscription(topics=HEARD, group=f"{GROUP}-live", kind="tail", handler=Happenings(hub)),
            Subscription(
                topics=(topics.CAMERAS,),
                group=f"{GROUP}-cameras",
                kind="table",
                handler=Cameras(hub),
            ),
        ],
        checks={"pages": pages},
    )


SERVICE = Service(
    name="dashboard",
    port=8003,
    settings=DashboardSettings,
    consumes=(topics.FRAMES, topics.CAMERAS, *HEARD),
    produces=(topics.AUDIT,),
    start=start,
    description="The operator's console: live pictures with boxes and tracks, alerts as they come, camera states.",
)
