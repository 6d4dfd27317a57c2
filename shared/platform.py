"""Composition root of the infrastructure: URLs in, ports out. The only importer of adapters."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import Setup
from shared.security.egress import Egress
from shared.security.envelope import SecretBox, open_box
from shared.security.guard import Guard
from shared.security.keys import SigningKeys, private_folder
from shared.security.revocations import Revocations
from shared.security.tokens import Issuer, LocalKeySet, RemoteKeySet, Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import httpx

    from shared.blobs.port import Blobs
    from shared.bus.port import Log, Publisher
    from shared.cache.port import Cache
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.peers import Peers
    from shared.service import Service
    from shared.settings import PlatformSettings


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Everything that the services of one process share. Opened inside the lifespan, by the process's own loop."""

    settings: PlatformSettings
    clock: Clock
    metrics: Metrics
    log: Log
    blobs: Blobs
    cache: Cache
    secrets: SecretBox
    egress: Egress
    guard: Guard
    revocations: Revocations
    keys: SigningKeys | None  # None: another process signs
    peers: Peers
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
    settings: PlatformSettings, metrics: Metrics, clock: Clock, peers: Peers
) -> AsyncIterator[Platform]:
    """Open every adapter that the settings name.

    Raises:
        Setup: a URL names no adapter of ours, or an adapter cannot be opened.
    """
    private_folder(settings.data_dir)
    folder = settings.data_dir / "keys"
    _check_master_key(settings, folder)
    keys = SigningKeys.open(folder) if settings.client_id is None else None
    async with AsyncExitStack() as stack:
        cache, blobs = open_cache(settings, clock), open_blobs(settings)
        log = await stack.enter_async_context(open_log(settings))
        revocations = Revocations(cache, clock)
        key_set = LocalKeySet(keys, clock) if keys else RemoteKeySet(peers.key_document, clock)
        peers.issuer = Issuer(keys, clock) if keys else None
        if keys is None:
            await peers.introduce()
        stack.push_async_callback(peers.close)
        yield Platform(
            settings=settings,
            clock=clock,
            metrics=metrics,
            log=log,
            blobs=blobs,
            cache=cache,
            secrets=open_box(folder, _secret(settings)),
            egress=open_egress(settings),
            guard=Guard(Verifier(key_set, clock), revocations),
            revocations=revocations,
            keys=keys,
            peers=peers,
            notices=[],
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
            found = await stack.enter_async_context(open_database(platform, service))
        yield ServicePlatform(
            service=service.name, shared=platform, publisher=publisher, found=found
        )


def open_log(settings: PlatformSettings) -> AbstractAsyncContextManager[Log]:
    """The log that VANTAGE_BUS_URL names."""
    url = settings.bus_url
    scheme = _scheme(url)
    if scheme == "memory":
        from shared.bus.memory import open_memory

        return open_memory()
    if scheme == "sqlite":
        from shared.bus.sqlite import open_sqlite

        return open_sqlite(_folder(url, settings.data_dir / "log"), budget=settings.disk_budget)
    if scheme == "kafka":
        from shared.bus.kafka import open_kafka

        return open_kafka(url)
    raise _unknown("VANTAGE_BUS_URL", url, "memory://, sqlite://<folder> or kafka://<host>:<port>")


def open_database(platform: Platform, service: Service) -> AbstractAsyncContextManager[Database]:
    """The database of a service at VANTAGE_DB_URL, migrated."""
    url = platform.settings.db_url
    if _scheme(url) == "sqlite+aiosqlite":
        from shared.db.sqlite import open_sqlite

        folder = _folder(url, platform.settings.data_dir / "db")
        return open_sqlite(
            f"sqlite+aiosqlite:///{folder}",
            service=service.name,
            clock=platform.clock,
            migrations=service.migrations,
        )
    if _scheme(url) == "postgresql+asyncpg":
        from shared.db.postgres import open_postgres

        return open_postgres(
            url,
            service=service.name,
            clock=platform.clock,
            migrations=service.migrations,
            pool=platform.settings.db_pool,
        )
    known = "sqlite+aiosqlite:///<folder> or postgresql+asyncpg://user:password@host/database"
    raise _unknown("VANTAGE_DB_URL", url, known)


def open_blobs(settings: PlatformSettings) -> Blobs:
    """The blob store that VANTAGE_BLOB_URL names."""
    if _scheme(settings.blob_url) == "file":
        from shared.blobs.files import FileBlobs

        path = urlsplit(settings.blob_url).path
        return FileBlobs(Path(path) if path.strip("/") else settings.data_dir / "blobs")
    raise _unknown("VANTAGE_BLOB_URL", settings.blob_url, "file:///<folder>")


def open_cache(settings: PlatformSettings, clock: Clock) -> Cache:
    """The cache that VANTAGE_CACHE_URL names."""
    if _scheme(settings.cache_url) == "memory":
        from shared.cache.memory import MemoryCache

        return MemoryCache(clock)
    raise _unknown("VANTAGE_CACHE_URL", settings.cache_url, "memory://")


def open_egress(settings: PlatformSettings) -> Egress:
    """The guard of outgoing connections, as the settings have it."""
    return Egress(
        camera_nets=settings.camera_nets,
        webhook_nets=settings.webhook_nets,
        own_ports=[port for port in (settings.port, settings.metrics_port) if port],
    )


def embedded(settings: PlatformSettings) -> bool:
    """Whether only one process at a time may use the data folder."""
    return _scheme(settings.bus_url) in ("memory", "sqlite")


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _folder(url: str, default: Path) -> Path:
    """The folder of `scheme:///relative` or `scheme:////absolute`, as database URLs have it."""
    named = url.partition("://")[2].removeprefix("/")
    return Path(named) if named else default


def _check_master_key(settings: PlatformSettings, folder: Path) -> None:
    """A process beside the installation's own data folder must not seal under a key that nobody else has."""
    if settings.client_id is None or settings.master_key is not None:
        return
    if not (folder / "master.key").exists():
        raise Setup(
            "VANTAGE_CLIENT_ID is set and VANTAGE_MASTER_KEY is not: this process could open none of the secrets of "
            "the others. Give it the lines of keys/master.key in the gateway's data folder, separated by commas"
        )


def _secret(settings: PlatformSettings) -> str | None:
    key = settings.master_key
    return None if key is None else key.get_secret_value()


def _unknown(setting: str, url: str, known: str) -> Setup:
    from shared.settings import without_password

    return Setup(f"{setting}={without_password(url)}: no adapter for it here; use {known}")
