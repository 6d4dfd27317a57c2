"""How the gateway starts: its objects, made by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import APIRouter

from services.gateway.api import make_router, make_token_router
from services.gateway.pages import (
    Cookies,
    make_document_router,
    make_page_router,
    make_session_router,
)
from services.gateway.passwords import Passwords
from services.gateway.people import People
from services.gateway.proxy import make_client, make_proxy_router
from services.gateway.sessions import Sessions
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.gateway.table import Table
from services.gateway.throttle import Throttle
from shared.errors import Invalid, Setup
from shared.security.scopes import ROLES
from shared.security.tokens import Grant, Issuer
from shared.service import Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.platform import ServicePlatform

SWEEP_S = 3600.0
OWNER = Grant(subject="owner", kind="user", name="local owner", scopes=ROLES["admin"], lifetime=60)


@asynccontextmanager
async def start(platform: ServicePlatform, settings: GatewaySettings) -> AsyncIterator[Running]:
    """Open the doors; the first administrator's sign-in link is printed where there is none yet."""
    clock, keys, issuer = platform.clock, platform.keys, Issuer(platform.keys, platform.clock)
    passwords, throttle = Passwords(settings.hashers), Throttle(platform.cache)
    sessions = Sessions(
        platform.database, Store(), clock,
        box=platform.secrets, issuer=issuer, passwords=passwords, throttle=throttle,
        revocations=platform.revocations, settings=settings,
    )  # fmt: skip
    people = People(
        platform.database, Store(), clock,
        passwords=passwords, sessions=sessions, revocations=platform.revocations,
    )  # fmt: skip
    await sessions.remember()
    await _first_admin(platform, people)
    cookies = Cookies(secure=platform.public_url.startswith("https://"), days=settings.session_days)
    table = Table(settings.upstreams, lambda: issuer.service("gateway"))
    router = APIRouter()
    router.include_router(make_router(people))
    router.include_router(make_token_router(people, keys, issuer, throttle))
    router.include_router(make_session_router(sessions, cookies, platform.metrics))
    router.include_router(make_page_router("Vantage"))
    router.include_router(make_document_router(table))

    async def sweep() -> None:
        while True:
            await sessions.sweep()
            await asyncio.to_thread(keys.rotate_if_due, now=clock.now(), days=settings.key_days)
            await asyncio.sleep(SWEEP_S)

    async with _elsewhere(table, settings, issuer) as elsewhere:
        yield replace(elsewhere, router=router, jobs={"sweep": sweep, **elsewhere.jobs})


@asynccontextmanager
async def _elsewhere(
    table: Table, settings: GatewaySettings, issuer: Issuer
) -> AsyncIterator[Running]:
    """What it takes to pass calls on to other processes, where there are any."""
    if not settings.upstreams:
        yield Running()
        return
    await table.look()
    async with make_client() as client:
        yield Running(
            fallback=make_proxy_router(table, client, lambda: issuer.issue(OWNER)),
            jobs={"table": table.keep},
            checks={"upstreams": table.check},
        )


async def _first_admin(platform: ServicePlatform, people: People) -> None:
    given = platform.settings.admin_password
    try:
        secret = await people.first_admin(None if given is None else given.get_secret_value())
    except Invalid as error:
        raise Setup(f"VANTAGE_ADMIN_PASSWORD: {error}") from None
    if secret is not None:
        platform.notice(f"Sign in (once, within 15 minutes): {platform.public_url}/login#{secret}")


SERVICE = Service(
    name="gateway",
    port=8000,
    settings=GatewaySettings,
    start=start,
    migrations="services.gateway.migrations",
    description="The only public door: people, programs, their tokens, and the way to every service.",
)
