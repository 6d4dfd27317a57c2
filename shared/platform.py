"""Composition root of the infrastructure: URLs in, ports out. The only importer of adapters."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
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
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    import httpx
    from pydantic import SecretStr

    from shared.blobs.port import Blobs
    from shared.bus.kafka import Access
    from shared.bus.port import Log, Publisher
    from shared.bus.topics import Topics
    from shared.cache.port import Cache
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.peers import Peers
    from shared.service import Service
    from shared.settings import PlatformSettings
    from shared.traces.port import Sink, Spans


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
    private_folder(settings.data_dir)
    folder = settings.data_dir / "keys"
    _check_master_key(settings, folder)
    keys = SigningKeys.open(folder) if settings.client_id is None else None
    traces = traces or Traces()
    async with AsyncExitStack() as stack:
        traces.sink = stack.enter_context(open_sink(settings, metrics))
        cache = await stack.enter_async_context(open_cache(settings, clock))
        blobs = await stack.enter_async_context(open_blobs(settings))
        log = await stack.enter_async_context(open_log(settings))
        revocations = Revocations(cache, peers.revoked)
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
            own_cache=await stack.enter_async_context(_own_cache(clock)),
            secrets=open_box(folder, _bare(settings.master_key)),
            egress=open_egress(settings),
            guard=Guard(Verifier(key_set, clock), revocations),
            revocations=revocations,
            keys=keys,
            peers=peers,
            traces=traces,
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


@contextmanager
def open_sink(settings: PlatformSettings, metrics: Metrics) -> Iterator[Sink | None]:
    """The way of spans to the collector that VANTAGE_OTLP_ENDPOINT names; None: nobody traces."""
    if settings.otlp_endpoint is None:
        yield None
        return
    from shared.traces.otlp import open_otlp

    with open_otlp(
        settings.otlp_endpoint,
        instance=settings.instance,
        version=version("vantage"),
        lost=metrics.spans_lost,
    ) as sink:
        yield sink


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

        return open_kafka(
            url,
            access=_access(settings),
            session=settings.kafka_session,
            replication=settings.kafka_replication,
        )
    raise _unknown("VANTAGE_BUS_URL", url, "memory://, sqlite://<folder> or kafka://<host>:<port>")


def open_topics(settings: PlatformSettings) -> AbstractAsyncContextManager[Topics]:
    """The topics of the broker that VANTAGE_BUS_URL names.

    Raises:
        Setup: it names none; the embedded log has no topics to be planned.
    """
    url = settings.bus_url
    if _scheme(url) == "kafka":
        from shared.bus.kafka import open_topics

        return open_topics(url, access=_access(settings), replication=settings.kafka_replication)
    raise Setup(
        f"VANTAGE_BUS_URL={url}: the embedded log keeps its topics itself; topics are planned on"
        " Kafka: set VANTAGE_BUS_URL=kafka://<host>:<port>"
    )


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


def open_blobs(settings: PlatformSettings) -> AbstractAsyncContextManager[Blobs]:
    """The blob store that VANTAGE_BLOB_URL names."""
    url = settings.blob_url
    scheme = _scheme(url)
    if scheme == "file":
        from shared.blobs.files import open_files

        path = urlsplit(url).path
        return open_files(Path(path) if path.strip("/") else settings.data_dir / "blobs")
    if scheme == "s3":
        from shared.blobs.s3 import Login, open_s3

        access, secret = _bare(settings.s3_access_key), _bare(settings.s3_secret_key)
        if (access is None) != (secret is None):
            raise Setup("VANTAGE_S3_ACCESS_KEY and VANTAGE_S3_SECRET_KEY go together; set both")
        return open_s3(url, Login(access, secret))
    raise _unknown("VANTAGE_BLOB_URL", url, "file:///<folder> or s3://<bucket>/<prefix>")


def open_cache(settings: PlatformSettings, clock: Clock) -> AbstractAsyncContextManager[Cache]:
    """The cache that VANTAGE_CACHE_URL names."""
    url = settings.cache_url
    scheme = _scheme(url)
    if scheme == "memory":
        from shared.cache.memory import open_memory

        return open_memory(clock)
    if scheme in ("redis", "rediss"):
        from shared.cache.redis import open_redis

        return open_redis(url)
    raise _unknown(
        "VANTAGE_CACHE_URL", url, "memory://, redis://<host>:<port>/<db> or rediss:// (TLS)"
    )


def _own_cache(clock: Clock) -> AbstractAsyncContextManager[Cache]:
    from shared.cache.memory import open_memory

    return open_memory(clock)


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


def _bare(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _access(settings: PlatformSettings) -> Access:
    from shared.bus.kafka import Access

    return Access(
        security=settings.kafka_security,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=_bare(settings.kafka_password),
        ca=settings.kafka_ca,
        cert=settings.kafka_cert,
        key=settings.kafka_key,
    )


def _check_master_key(settings: PlatformSettings, folder: Path) -> None:
    """A process beside the installation's own data folder must not seal under a key that nobody else has."""
    if settings.client_id is None or settings.master_key is not None:
        return
    if not (folder / "master.key").exists():
        raise Setup(
            "VANTAGE_CLIENT_ID is set and VANTAGE_MASTER_KEY is not: this process could open none of the secrets of "
            "the others. Give it the lines of keys/master.key in the gateway's data folder, separated by commas"
        )


def _unknown(setting: str, url: str, known: str) -> Setup:
    from shared.settings import without_password

    return Setup(f"{setting}={without_password(url)}: no adapter for it here; use {known}")
