"""How the video management service starts: its objects, made by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from schemas import topics
from services.vms.api import make_router
from services.vms.api.history import History
from services.vms.cameras import Cameras
from services.vms.domain import Site
from services.vms.handlers import (
    AlertHandler,
    DetectionHandler,
    IncidentHandler,
    StatusHandler,
    TrackHandler,
)
from services.vms.questions import Cursors
from services.vms.retention import Retention
from services.vms.settings import VmsSettings
from services.vms.store.cameras import ensure_site
from shared.bus.port import Subscription
from shared.service import Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemas.event import Topic
    from shared.bus.port import Handler
    from shared.platform import ServicePlatform

GROUP = "vms"
MAX_BATCH = 50  # binding the rows of more frames at once would hold up the event loop


@asynccontextmanager
async def start(platform: ServicePlatform, settings: VmsSettings) -> AsyncIterator[Running]:
    """Make the site at the first start, and wire facts to rows and rows to routes."""
    database, clock = platform.database, platform.clock
    site = Site(id=settings.site, name=settings.site_name, time_zone=settings.time_zone)
    async with database.transaction() as tx:
        await ensure_site(tx, site, now=clock.now())
    cameras = Cameras(
        database,
        clock,
        publisher=platform.publisher,
        egress=platform.egress,
        box=platform.secrets,
    )
    history = History(
        database=database,
        blobs=platform.blobs,
        clock=clock,
        cursors=Cursors(platform.secrets),
        snapshot_wait_s=settings.snapshot_wait_s,
    )
    handlers: dict[Topic, Handler] = {
        topics.DETECTIONS: DetectionHandler(database, clock),
        topics.TRACKS: TrackHandler(database, clock),
        topics.INCIDENTS: IncidentHandler(database, clock),
        topics.ALERTS: AlertHandler(database, clock),
        topics.CAMERA_STATUS: StatusHandler(database),
    }
    yield Running(
        router=make_router(cameras, history),
        subscriptions=[
            Subscription(
                topics=(topic,),
                group=f"{GROUP}-{topic.name}",
                handler=handler,
                max_batch=MAX_BATCH,
            )
            for topic, handler in handlers.items()
        ],
        jobs={"retention": Retention(database, clock, settings).run},
    )


SERVICE = Service(
    name="vms",
    port=8001,
    settings=VmsSettings,
    consumes=(
        topics.DETECTIONS,
        topics.TRACKS,
        topics.INCIDENTS,
        topics.ALERTS,
        topics.CAMERA_STATUS,
    ),
    produces=(topics.CAMERAS, topics.AUDIT),
    start=start,
    migrations="services.vms.migrations",
    description="Keeps the site, its cameras and the searchable history of facts.",
)
