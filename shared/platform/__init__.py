"""Composition root of the infrastructure: settings in, ports out."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import Setup
from shared.platform.adapters import (
    bare,
    open_blobs,
    open_cache,
    open_database,
    open_egress,
    open_own_cache,
    open_sink,
)
from shared.platform.adapters import embedded as embedded
from shared.platform.adapters import open_log as open_log
from shared.platform.adapters import open_topics as open_topics
from shared.security.envelope import SecretBox, open_box
from shared.security.guard import Guard
from shared.security.keys import SigningKeys, private_folder
from shared.security.revocations import Revocations
from shared.security.tokens import Issuer, LocalKeySet, RemoteKeySet, Verifier
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from shared.blobs.port import Blobs
    from shared.bus.port import Log, Publisher
    from shared.cache.port import Cache
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.peers import Peers
    from shared.security.egress import Egress
    from shared.service import Service
    from shared.settings import PlatformSettings
    from shared.traces.port import Spans


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Everything that the services of one process share. Opened inside the lifespan, by the process's own loop."""

    settings: PlatformSettings
    clock: Clock
    metrics: Metrics
    log: Log
    blobs: Blobs
    cache: Cache
    own_cache: Cache  # of this process alone: what must go on while the shared one is away
    secrets: SecretBox
    egress: Egress
    guard: Guard
    revocations: Revocations
    keys: SigningKeys | None  # None: another process signs
    peers: Peers
    traces: Traces = field(default_factory=Traces)
    notices: list[str]  # printed once on standard output when the server listens


@dataclass(frozen=True, kw_only=True)
class ServicePlatform:
    """The platform as one service sees it: what `start` gets."""

    service: str
    shared: Platform = field(repr=False)
    publisher: Publisher
    found: Database | None = field(default=None, repr=False)

    @property
    def instance(self) -> str:
        """The stable name of this process."""
        return self.shared.settings.instance

    @property
    def settings(self) -> PlatformSettings:
        """The platform's settings."""
        return self.shared.settings

    @property
    def clock(self) -> Clock:
        """The clocks."""
        return self.shared.clock

    @property
    def log(self) -> Log:
        """The log itself; a subscription is the better choice where one will do."""
        return self.shared.log

    @property
    def database(self) -> Database:
        """This service's database.

        Raises:
            Setup: the SERVICE has no migrations, so it has no database.
        """
        if self.found is None:
            raise Setup(f"{self.service} has no database; give its SERVICE `migrations`")
        return self.found

    @property
    def blobs(self) -> Blobs:
        """Files: snapshots and the like."""
        return self.shared.blobs

    @property
    def cache(self) -> Cache:
        """Short-lived values that all processes share."""
        return self.shared.cache

    @property
    def own_cache(self) -> Cache:
        """Short-lived values of this process alone, which is never away."""
        return self.shared.own_cache

    @property
    def public_url(self) -> str:
        """How browsers reach this installation, without a slash at the end."""
        settings = self.settings
        found = settings.public_url or f"http://{settings.host}:{settings.port or 8000}"
        return found.rstrip("/")

    @property
    def data_dir(self) -> Path:
        """The installation's folder."""
        return self.shared.settings.data_dir

    @property
    def secrets(self) -> SecretBox:
        """Seals what must not stand in clear in a database."""
        return self.shared.secrets

    @property
    def egress(self) -> Egress:
        """Says where we may connect."""
        return self.shared.egress

    @property
    def metrics(self) -> Metrics:
        """All metrics of this process."""
        return self.shared.metrics

    @property
    def spans(self) -> Spans:
        """Says in this service's name what took how long."""
        return self.shared.traces.of(self.service, self.clock)

    @property
    def guard(self) -> Guard:
        """Says who calls and whether they still may; long-lived WebSockets ask it again."""
        return self.shared.guard

    @property
    def revocations(self) -> Revocations:
        """Ends sessions before their time."""
        return self.shared.revocations

    @property
    def keys(self) -> SigningKeys:
        """The signing keys; the gateway publishes them.

        Raises:
            Setup: this process does not sign.
        """
        if self.shared.keys is None:
            raise Setup(f"{self.service} signs tokens; unset VANTAGE_CLIENT_ID in its process")
        return self.shared.keys

    def notice(self, text: str) -> None:
        """Have this printed once on standard output, and nowhere else, when the server listens."""
        self.shared.notices.append(text)

    def client(self, service: str) -> httpx.AsyncClient:
        """An HTTP client of another service with our own token; use `async with` or close it."""
        return self.shared.peers.client(service, caller=self.service)


@asynccontextmanager
async def open_platform(
    settings: PlatformSettings,
    metrics: Metrics,
    clock: Clock,
    peers: Peers,
    traces: Traces | None = None,
) -> AsyncIterator[Platform]:
    """Open every adapter that the settings name; `traces` get their way out here.

    Raises:
        Setup: a URL names no adapter of ours, or an adapter cannot be opened.
    """
    folder, traces = settings.data_dir / "keys", traces or Traces()
    keys = _signing_keys(settings, folder)
    async with AsyncExitStack() as stack:
        traces.sink = stack.enter_context(open_sink(settings, metrics))
        cache = await stack.enter_async_context(open_cache(settings, clock))
        blobs = await stack.enter_async_context(open_blobs(settings))
        log = await stack.enter_async_context(open_log(settings))
        revocations = Revocations(cache, peers.revoked)
        verifier = await _acquainted(peers, keys, clock)
        stack.push_async_callback(peers.close)
        yield Platform(
            settings=settings,
            clock=clock,
            metrics=metrics,
            log=log,
            blobs=blobs,
            cache=cache,
            own_cache=await stack.enter_async_context(open_own_cache(clock)),
            secrets=open_box(folder, bare(settings.master_key)),
            egress=open_egress(settings),
            guard=Guard(verifier, revocations),
            revocations=revocations,
            keys=keys,
            peers=peers,
            traces=traces,
            notices=[],
        )


def _signing_keys(settings: PlatformSettings, folder: Path) -> SigningKeys | None:
    private_folder(settings.data_dir)
    _check_master_key(settings, folder)
    return SigningKeys.open(folder) if settings.client_id is None else None


async def _acquainted(peers: Peers, keys: SigningKeys | None, clock: Clock) -> Verifier:
    """Sign and verify with our own keys, or as the gateway's client with those that it publishes."""
    if keys is not None:
        peers.issuer = Issuer(keys, clock)
        return Verifier(LocalKeySet(keys, clock), clock)
    peers.issuer = None
    await peers.introduce()
    return Verifier(RemoteKeySet(peers.key_document, clock), clock)


def _check_master_key(settings: PlatformSettings, folder: Path) -> None:
    """A process beside the installation's own data folder must not seal under a key that nobody else has."""
    if settings.client_id is None or settings.master_key is not None:
        return
    if not (folder / "master.key").exists():
        raise Setup(
            "VANTAGE_CLIENT_ID is set and VANTAGE_MASTER_KEY is not: this process could open none of the secrets of "
            "the others. Give it the lines of keys/master.key in the gateway's data folder, separated by commas"
        )


@asynccontextmanager
async def open_service(platform: Platform, service: Service) -> AsyncIterator[ServicePlatform]:
    """One service's view: its publisher, and its database where it has migrations, brought up to date."""
    from shared.bus.publisher import ServicePublisher

    source = f"/vantage/{service.name}/{platform.settings.instance}"
    publisher = ServicePublisher(platform.log, service.name, service.produces, source)
    async with AsyncExitStack() as stack:
        found = None
        if service.migrations is not None:
            found = await stack.enter_async_context(
                open_database(platform.settings, platform.clock, service)
            )
        yield ServicePlatform(
            service=service.name, shared=platform, publisher=publisher, found=found
        )
