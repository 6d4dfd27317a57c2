"""A whole ingest without the other services: real readers, a real database, a publisher that keeps what was said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from sqlalchemy import select

from schemas.event import Envelope, Event, Picture, Topic
from schemas.events.camera_configured import CameraConfigured, Detect, Mask
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.frame_captured import FrameCaptured
from services.ingest.handlers import Cameras
from services.ingest.hosts import Hosts
from services.ingest.leases import CameraLeases
from services.ingest.orders import Orders
from services.ingest.settings import IngestSettings
from services.ingest.streams import Studio
from shared.bus.port import Batch, Partition
from shared.clock import SystemClock
from shared.db.base import OUTBOX
from shared.db.engine import Database
from shared.db.sqlite import open_sqlite
from shared.metrics import Metrics
from shared.security.camera_login import CameraLogin, seal_login
from shared.security.egress import Egress
from shared.security.envelope import SecretBox
from shared.settings import Network
from shared.traces.port import Traces

AnEvent = TypeVar("AnEvent", bound=Event)
FAST = IngestSettings(open_timeout=4, read_timeout=2, lease=3)
LOOPBACK = (ip_network("127.0.0.0/8"),)
PATIENT = 10.0  # seconds of a lease that nobody is to lose, however busy the machine is
BOX = SecretBox([bytes(32)])


class Said:
    """A publisher that keeps what was said, in order."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self._more = asyncio.Event()

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        self.envelopes.extend(envelopes)
        self._more.set()

    def mint(
        self,
        event: Event,
        *,
        id: str | None = None,
        topic: Topic | None = None,
        picture: Picture | None = None,
        cause: Envelope | None = None,
    ) -> Envelope:
        return Envelope(
            id=id or f"random-{len(self.envelopes)}",
            source="test",
            topic=(topic or event.topics[0]).name,
            key=event.key,
            event=event,
            picture=picture,
        )

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        return Envelope(id="gone", source="test", topic=topic.name, key=key, event=None)

    def of(self, kind: type[AnEvent], camera: str = "yard") -> list[AnEvent]:
        return [
            envelope.event
            for envelope in self.envelopes
            if isinstance(envelope.event, kind) and envelope.key == camera
        ]

    def frames(self, camera: str = "yard") -> list[FrameCaptured]:
        return self.of(FrameCaptured, camera)

    async def until(self, holds: Callable[[], object], timeout: float = 25.0) -> None:
        """Wait until something is true; looked at whenever more was said."""
        async with asyncio.timeout(timeout):
            while not holds():
                self._more.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._more.wait()


class Ingest:
    """Ingest as its service wires it. States go to the outbox; `states` reads them there."""

    def __init__(self, studio: Studio, cameras: Cameras, said: Said) -> None:
        self.studio = studio
        self.cameras = cameras
        self.said = said
        self._offset = 0

    async def configure(self, **fields: Any) -> CameraConfigured:
        """Publish a camera document, as vms would."""
        document = camera(**fields)
        await self._hand_in(
            Envelope(id="d", source="t", topic="cameras", key=document.camera, event=document)
        )
        return document

    async def remove(self, name: str) -> None:
        """Publish a tombstone."""
        await self._hand_in(Envelope(id="d", source="t", topic="cameras", key=name, event=None))

    def state(self, name: str = "yard") -> str:
        stream = self.cameras.stream(name)
        return stream.state if stream else ""

    def reason(self, name: str = "yard") -> str:
        stream = self.cameras.stream(name)
        return stream.reason if stream else ""

    async def states(self, name: str = "yard") -> list[str]:
        """Every state that was put in the outbox for a camera, in order."""
        async with self.studio.database.read() as reader:
            rows = await reader.execute(select(OUTBOX.c.value, OUTBOX.c.key).order_by(OUTBOX.c.id))
            events = [
                msgspec.json.decode(row.value, type=CameraStatusChanged)
                for row in rows
                if row.key == name
            ]
        return [event.state for event in events]

    async def _hand_in(self, envelope: Envelope) -> None:
        self._offset += 1
        await self.cameras(Batch(Partition("cameras", 0), (envelope,), self._offset))


def camera(
    *,
    name: str = "yard",
    url: str = "sim://demo",
    rate: float = 10.0,
    enabled: bool = True,
    login: tuple[str, str] | None = None,
    masks: tuple[Mask, ...] = (),
    version: int = 1,
) -> CameraConfigured:
    """A camera document."""
    sealed = ""
    if login is not None:
        sealed = seal_login(BOX, name, CameraLogin(username=login[0], password=login[1]))
    return CameraConfigured(
        camera=name,
        name=name.title(),
        site="site",
        time_zone="UTC",
        enabled=enabled,
        url=url,
        credentials=sealed,
        masks=masks,
        detect=Detect(rate=rate),
        document_version=version,
        effective_at=0,
    )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    instance: str = "one",
    nets: Sequence[Network] = LOOPBACK,
    room: int | None = None,
    leaves: bool = True,
    lease: float = PATIENT,
) -> AsyncIterator[Ingest]:
    """A running ingest on the database in `folder`; entered again it is a restart.

    leaves: at the end it gives its leases back, as after SIGTERM; else it just stops, as if it were killed.
    """
    cameras, said = Cameras(), Said()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_sqlite(
                f"sqlite+aiosqlite:///{folder}",
                service="ingest",
                clock=SystemClock(),
                migrations="services.ingest.migrations",
            )
        )
        orders = Orders(Egress(camera_nets=nets), BOX, FAST)
        one = studio(database, orders, cameras, said, instance=instance, room=room, lease=lease)
        stack.push_async_callback(one.hosts.close)
        jobs = [asyncio.create_task(cameras.follow(one)), asyncio.create_task(one.leases.keep())]
        try:
            yield Ingest(one, cameras, said)
        finally:
            await cameras.stop()
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            if leaves:
                await one.leases.leave(cameras.last_marks())


def studio(
    database: Database,
    orders: Orders,
    cameras: Cameras,
    said: Said,
    *,
    instance: str = "one",
    room: int | None = None,
    lease: float = PATIENT,
) -> Studio:
    """What all streams of this ingest share."""
    clock = SystemClock()
    return Studio(
        hosts=Hosts(per_process=4, memory_mb=4096, silent_s=3),
        orders=orders,
        leases=CameraLeases(database, clock, instance, lease, cameras, room=room),
        database=database,
        publisher=said,
        clock=clock,
        metrics=Metrics(),
        spans=Traces().of("ingest", clock),
        chance=lambda: 0.0,
        opening=FAST.open_timeout + FAST.read_timeout,
        patience=FAST.read_timeout,
    )


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    async with running(tmp_path) as one:
        yield one
