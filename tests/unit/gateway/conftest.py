"""The gateway at work on real SQLite files, with a clock that the tests move."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx

from services.gateway.service import SERVICE
from shared.clock import Clock, ManualClock
from shared.http import Application
from shared.runtime import application
from shared.security.guard import CSRF_COOKIE, CSRF_HEADER
from shared.settings import Configuration, PlatformSettings
from tests.unit.platform import toys

PASSWORD = "correct horse"
NOW = 1_800_000_000_000_000


@dataclass
class Door:
    """A running gateway beside a toy service."""

    app: Application
    clock: ManualClock

    @property
    def notices(self) -> list[str]:
        return list(self.app.state.notices)

    def browser(self, **options: Any) -> httpx.AsyncClient:
        return toys.caller(self.app, **options)

    async def signed_in(self, browser: httpx.AsyncClient, name: str = "admin") -> httpx.Response:
        body = {"name": name, "password": PASSWORD}
        return await browser.post("/api/v1/sessions", json=body)


def csrf(browser: httpx.AsyncClient) -> dict[str, str]:
    """The header that a page of ours sends."""
    return {CSRF_HEADER: browser.cookies[CSRF_COOKIE]}


def gateway(folder: Path, clock: Clock, **settings: Any) -> Application:
    """An app of the gateway and the toy."""
    toys.write_key(folder / "keys")
    chosen = PlatformSettings(data_dir=folder, bus_url="memory://", **settings)
    services = [SERVICE, toys.service()]
    return application(services, chosen, configuration=Configuration(), clock=clock)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(app):
        with blockbuster_ctx():  # starting may block, serving may not
            yield Door(app, clock)


@pytest.fixture
async def owner(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async with door.browser(owner=True) as client:
        yield client
