"""The video management service as an app on real files, with a clock that stands still."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.event import Envelope, Event
from schemas.events.camera_configured import CameraConfigured
from services.vms.domain import camera_id
from services.vms.service import SERVICE
from shared.bus.port import Batch, Handler, Partition
from shared.clock import ManualClock
from shared.db import outbox
from shared.db.engine import Database
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.security.envelope import SecretBox, open_box
from shared.settings import Configuration, PlatformSettings
from tests.engines.databases import open_database

ON_BOTH = pytest.mark.parametrize(
    "db_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z


@dataclass
class Rig:
    """The service's API, its database from outside, and its clock."""

    api: httpx.AsyncClient
    database: Database
    clock: ManualClock
    data_dir: Path
    offsets: dict[int, int] = field(default_factory=dict)

    @property
    def box(self) -> SecretBox:
        """The box that seals logins here."""
        return open_box(self.data_dir / "keys", None)

    async def said(self) -> list[Envelope]:
        """What waits in the outbox, oldest first."""
        async with self.database.read() as reader:
            return [outbox.envelope(row) for row in await reader.execute(outbox.oldest(1000))]

    async def documents(self) -> list[CameraConfigured]:
        """The camera documents that wait in the outbox."""
        events = [envelope.event for envelope in await self.said()]
        return [event for event in events if isinstance(event, CameraConfigured)]

    async def hear(self, handler: Handler, *events: Event) -> None:
        """Give a handler a batch of events."""
        envelopes = tuple(
            Envelope(
                id=f"e{number}",
                source="/test",
                topic=event.topics[-1].name,
                key=event.key,
                event=event,
            )
            for number, event in enumerate(events)
        )
        await handler(Batch(Partition(envelopes[0].topic, 0), envelopes, len(envelopes)))

    async def add(self, name: str = "Door", **fields: Any) -> dict[str, Any]:
        """Add a camera that is fine."""
        body = {"name": name, "url": f"rtsp://127.0.0.10/{camera_id(name)}", **fields}
        answer = await self.api.post("/api/v1/cameras", json=body)
        assert answer.status_code == 201, answer.text
        added: dict[str, Any] = answer.json()
        return added

    async def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The items of a page."""
        found: list[dict[str, Any]] = (await self.page(path, **query))["items"]
        return found

    async def page(self, path: str, **query: Any) -> dict[str, Any]:
        """A page."""
        answer = await self.api.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def opened(
    folder: Path, clock: ManualClock, nets: Sequence[str], db_url: str | None = None
) -> AsyncIterator[Rig]:
    url = db_url or f"sqlite+aiosqlite:///{folder / 'db'}"
    settings = PlatformSettings.model_validate(
        {
            "data_dir": folder,
            "bus_url": "memory://",
            "db_url": url,
            "camera_nets": list(nets),
            "port": 8000,
        }
    )
    app = application([SERVICE], settings, configuration=Configuration(), clock=clock, works=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(local_owner(app))
        client = httpx.AsyncClient(transport=transport, base_url="http://vantage")
        await stack.enter_async_context(client)
        database = await stack.enter_async_context(open_database(url, service="vms", clock=clock))
        yield Rig(client, database, clock, folder)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after its first start: keys made, database migrated."""
    folder = tmp_path_factory.mktemp("vms-template")

    async def start_once() -> None:
        async with opened(folder, ManualClock(now=NOON), []):
            pass

    asyncio.run(start_once())
    return folder


@pytest.fixture
def data_dir(template: Path, tmp_path: Path) -> Path:
    """A data folder of one's own."""
    return Path(shutil.copytree(template, tmp_path / "data"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=NOON)


@pytest.fixture
def db_url(request: pytest.FixtureRequest) -> str | None:
    """SQLite unless a module asks for more kinds: `pytestmark = ON_BOTH`."""
    wanted = getattr(request, "param", "sqlite")
    return None if wanted == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def rig(data_dir: Path, clock: ManualClock, db_url: str | None) -> AsyncIterator[Rig]:
    async with opened(data_dir, clock, ["127.0.0.0/8"], db_url) as made:
        yield made


@pytest.fixture
async def closed_rig(data_dir: Path, clock: ManualClock) -> AsyncIterator[Rig]:
    """The same, where this machine's own addresses are no cameras."""
    async with opened(data_dir, clock, []) as made:
        yield made
