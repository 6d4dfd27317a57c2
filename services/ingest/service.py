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
    hosts = Hosts(per_process=settings.cameras_per_reader, memory_mb=settings.reader_memory)
    orders = Orders(platform.egress, platform.secrets, settings)
    leases = CameraLeases(
        platform.database, platform.clock, platform.instance, settings.lease, cameras.marks
    )
    studio = Studio(
        hosts=hosts,
        orders=orders,
        leases=leases,
        database=platform.database,
        publisher=platform.publisher,
        clock=platform.clock,
        metrics=platform.metrics,
        chance=random.random,
        patience=settings.read_timeout,
    )
    table = Subscription(
        topics=(topics.CAMERAS,), group="ingest-cameras", kind="table", handler=cameras
    )

    async def drain() -> None:
        await leases.turn(renew=False)
        await cameras.stop()

    try:
        yield Running(
            router=make_router(Probes(orders, settings)),
            subscriptions=[table],
            jobs={
                "cameras": partial(cameras.follow, studio),
                "figures": partial(cameras.tell, studio),
                "leases": leases.keep,
            },
            checks={"cameras": cameras.check},
            drain=drain,
        )
    finally:
        await cameras.stop()
        await hosts.close()


SERVICE = Service(
    name="ingest",
    port=8004,
    settings=IngestSettings,
    consumes=(topics.CAMERAS,),
    produces=(topics.FRAMES, topics.CAMERA_STATUS),
    start=start,
    migrations="services.ingest.migrations",
    description="Reads cameras in processes of their own and puts their frames on the log.",
)
