"""A service is data: its name, what it hears and says, and how it starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fastapi import APIRouter
    from pydantic_settings import BaseSettings

    from schemas.event import Topic
    from shared.bus.port import Subscription
    from shared.platform import ServicePlatform

Job = Callable[[], Awaitable[None]]
"""Runs until cancelled; returning or raising before that is a failure and it is started again by the supervisor."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """The answer of one check: a line of `/health`'s details."""

    status: Literal["healthy", "degraded", "unhealthy"]
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Awaitable[Health]]


@dataclass(frozen=True, kw_only=True)
class Running:
    """What a started service gives to the runtime."""

    router: APIRouter | None = None
    fallback: APIRouter | None = None  # asked after the routers of all services of the process
    subscriptions: Sequence[Subscription] = ()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    drain: Callable[[], Awaitable[None]] | None = (
        None  # called first at SIGTERM: stop taking in new work
    )


Start = Callable[["ServicePlatform", Any], AbstractAsyncContextManager[Running]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service. `consumes` and `produces` equal the table of DESIGN.md; `migrations` is its Alembic package."""

    name: str
    port: int
    settings: type[BaseSettings]
    start: Start
    consumes: tuple[Topic, ...] = ()
    produces: tuple[Topic, ...] = ()
    migrations: str | None = None
    description: str = ""
