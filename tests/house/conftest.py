"""The whole house in one process, started once: its app, and what each service gave to the runtime."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from services import main
from shared.http import Application
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.service import Running, Service
from shared.settings import Configuration, PlatformSettings
from tests.house import tree


@dataclass
class House:
    """All services, started."""

    folder: Path
    app: Application
    running: dict[str, Running] = field(default_factory=dict)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Every service, started on an empty data folder with the log in memory."""
    running: dict[str, Running] = {}
    settings = PlatformSettings(data_dir=tmp_path, bus_url="memory://")
    services = [noted(main.load(name), running) for name in tree.SERVICES]
    app = application(services, settings, configuration=Configuration())
    async with app.router.lifespan_context(app):
        yield House(tmp_path, app, running)


def noted(service: Service, running: dict[str, Running]) -> Service:
    """The same service, whose `Running` we keep."""

    @asynccontextmanager
    async def start(platform: ServicePlatform, settings: Any) -> AsyncIterator[Running]:
        async with service.start(platform, settings) as given:
            running[service.name] = given
            yield given

    return replace(service, start=start)
