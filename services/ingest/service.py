"""How ingest starts: its objects, made by hand."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from schemas import topics
from services.ingest.api import make_router
from services.ingest.handlers import Cameras
from services.ingest.hosts import Hosts
from services.ingest.leases import CameraLeases
from services.ingest.orders import Orders
from services.ingest.probes import Probes
from services.ingest.settings import IngestSettings
from services.ingest.streams import Studio
from shared.bus.port import Subscription
from shared.service import Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.platform import ServicePlatform


@asynccontextmanager
async def start(platform: ServicePlatform, settings: IngestSettings) -> AsyncIterator[Running]:
    """Wire camera documents to streams, and streams to reader processes."""
    cameras = Cameras()
    studio = _studio(platform, settings, cameras)

    async def drain() -> None:
        await cameras.stop()
        await studio.leases.leave(cameras.last_marks())

    table = Subscription(
        topics=(topics.CAMERAS,), group="ingest-cameras", kind="table", handler=cameras
    )
    try:
        yield Running(
            router=make_router(Probes(studio.orders, settings)),
            subscriptions=[table],
            jobs={
                "cameras": partial(cameras.follow, studio),
                "figures": partial(cameras.tell, studio),
                "leases": studio.leases.keep,
            },
            checks={"cameras": cameras.check, "leases": studio.leases.check},
            drain=drain,
        )
    finally:
        await cameras.stop()
        await studio.hosts.close()


def _studio(platform: ServicePlatform, settings: IngestSettings, cameras: Cameras) -> Studio:
    database, clock = platform.database, platform.clock
    return Studio(
        hosts=Hosts(per_process=settings.cameras_per_reader, memory_mb=settings.reader_memory),
        orders=Orders(platform.egress, platform.secrets, settings),
        leases=CameraLeases(
            database, clock, platform.instance, settings.lease, cameras, room=settings.max_cameras
        ),
        database=database,
        publisher=platform.publisher,
        clock=clock,
        metrics=platform.metrics,
        spans=platform.spans,
        chance=random.random,
        opening=settings.open_timeout + settings.read_timeout,
        patience=settings.read_timeout,
    )


SERVICE = Service(
    name="ingest",
    port=8004,
    settings=IngestSettings,
    consumes=(topics.CAMERAS,),
    produces=(topics.FRAMES, topics.CAMERA_STATUS, topics.AUDIT),
    start=start,
    migrations="services.ingest.migrations",
    description="Reads cameras in processes of their own and puts their frames on the log.",
)
