"""How the gateway starts: its objects, made by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter

from schemas import topics
from services.gateway.api import (
    make_dead_letter_router,
    make_revocation_router,
    make_router,
    make_token_router,
    make_trail_router,
)
from services.gateway.dead_letters import DeadLetters
from services.gateway.limits import CallLimit
from services.gateway.pages import (
    Cookies,
    make_document_router,
    make_page_router,
    make_session_router,
)
from services.gateway.passwords import Passwords
from services.gateway.people import People
from services.gateway.proxy import make_client, make_proxy_router
from services.gateway.refusals import Refusals
from services.gateway.sessions import Sessions
from services.gateway.settings import GatewaySettings
from services.gateway.store import AuditStore, ReplayStore, Store
from services.gateway.table import Table
from services.gateway.throttle import Throttle
from services.gateway.trail import Trail
from shared.audit import Audit
from shared.bus.port import Subscription
from shared.cache.port import CacheUnavailable
from shared.errors import Invalid, Setup, Transient
from shared.security.scopes import ROLES
from shared.security.tokens import Grant, Issuer
from shared.service import Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.cache.port import Cache
    from shared.platform import ServicePlatform
    from shared.service import Job

SWEEP_S = 3600.0
SHARE_S = 1.0
COUNT_S = 15.0
OWNER = Grant(subject="owner", kind="user", name="local owner", scopes=ROLES["admin"], lifetime=60)


@asynccontextmanager
async def start(platform: ServicePlatform, settings: GatewaySettings) -> AsyncIterator[Running]:
    """Open the doors; the first administrator's sign-in link is printed where there is none yet."""
    issuer, audit = Issuer(platform.keys, platform.clock), Audit(platform.publisher, platform.clock)
    pseudonyms = partial(platform.secrets.pseudonyms, purpose="gateway.audit.address")
    refusals = Refusals(platform.database, audit, platform.clock, pseudonyms)
    platform.guard.witness(refusals.lacks)
    people = _people(platform, settings, issuer, audit, refusals)
    platform.revocations.rely_on(people.sessions.revoked)
    if settings.calls_a_minute:
        platform.guard.limit(
            CallLimit(platform.cache, platform.own_cache, calls=settings.calls_a_minute)
        )
    await people.sessions.share()
    await _first_admin(platform, people)
    table = Table(settings.upstreams, lambda: issuer.service("gateway"))
    trail = Trail(
        platform.database, AuditStore(), platform.clock,
        blobs=platform.blobs, keys=platform.keys, pseudonyms=pseudonyms,
    )  # fmt: skip
    router = _router(platform, settings, people, issuer)
    router.include_router(make_document_router(table))
    letters = DeadLetters(
        platform.log, platform.database, platform.clock, store=ReplayStore(), audit=audit
    )
    router.include_router(make_dead_letter_router(letters))
    router.include_router(make_trail_router(trail))

    async with _elsewhere(table, settings, issuer) as elsewhere:
        jobs = {**_jobs(platform, settings, people.sessions, audit), **elsewhere.jobs}
        heard = Subscription(topics=(topics.AUDIT,), group="gateway-audit", handler=trail)
        yield replace(
            elsewhere,
            router=router,
            subscriptions=[heard],
            jobs={**jobs, "checkpoints": trail.keep_anchoring, "refusals": refusals.keep},
            drain=refusals.flush,
        )


def _people(
    platform: ServicePlatform,
    settings: GatewaySettings,
    issuer: Issuer,
    audit: Audit,
    refusals: Refusals,
) -> People:
    passwords = Passwords(settings.hashers)
    throttle = Throttle(platform.cache, platform.own_cache)
    sessions = Sessions(
        platform.database, Store(), platform.clock,
        box=platform.secrets, issuer=issuer, passwords=passwords, throttle=throttle,
        revocations=platform.revocations, settings=settings, audit=audit, refusals=refusals,
    )  # fmt: skip
    return People(
        platform.database, Store(), platform.clock,
        passwords=passwords, sessions=sessions, revocations=platform.revocations, audit=audit,
        refusals=refusals,
    )  # fmt: skip


def _router(
    platform: ServicePlatform, settings: GatewaySettings, people: People, issuer: Issuer
) -> APIRouter:
    """People, programs and their sessions."""
    throttle = Throttle(platform.cache, platform.own_cache)
    secure = platform.public_url.startswith("https://")
    cookies = Cookies(secure=secure, days=settings.session_days)
    router = APIRouter()
    router.include_router(make_router(people))
    router.include_router(make_token_router(people, platform.keys, issuer, throttle))
    router.include_router(make_revocation_router(people.sessions))
    router.include_router(make_session_router(people.sessions, cookies, platform.metrics))
    router.include_router(make_page_router("Vantage"))
    return router


def _jobs(
    platform: ServicePlatform, settings: GatewaySettings, sessions: Sessions, audit: Audit
) -> dict[str, Job]:
    async def sweep() -> None:
        while True:
            if await _first(platform.cache):
                await sessions.sweep()
            await _rotate(platform, settings.key_days, audit)
            await asyncio.sleep(SWEEP_S)

    async def share() -> None:
        while True:
            await sessions.share()
            await asyncio.sleep(SHARE_S)

    async def count() -> None:
        while True:
            with suppress(Transient):
                platform.metrics.active_sessions.set(await sessions.count())
            await asyncio.sleep(COUNT_S)

    return {"sweep": sweep, "revocations": share, "count": count}


async def _rotate(platform: ServicePlatform, days: int, audit: Audit) -> None:
    """Sign with a new key where the present one is old enough."""
    now = platform.clock.now()
    if await asyncio.to_thread(platform.keys.rotate_if_due, now=now, days=days):
        async with platform.database.transaction() as tx:
            await tx.add([audit.entry("key.rotated", "key:signing")])


async def _first(cache: Cache) -> bool:
    """Whether no other gateway sweeps in this hour; where the cache is away each does, to no harm."""
    try:
        return await cache.lock("gateway.sweep", SWEEP_S / 2) is not None
    except CacheUnavailable:
        return True


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
    consumes=(topics.AUDIT,),
    produces=(topics.AUDIT,),
    migrations="services.gateway.migrations",
    description="The only public door: people, programs, their tokens, and the way to every service.",
)
