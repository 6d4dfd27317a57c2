"""URLs in, adapters out: the only importer of adapters."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import Setup
from shared.security.egress import Egress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from pydantic import SecretStr

    from shared.blobs.port import Blobs
    from shared.bus.kafka import Access
    from shared.bus.port import Log
    from shared.bus.topics import Topics
    from shared.cache.port import Cache
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.service import Service
    from shared.settings import PlatformSettings
    from shared.traces.port import Sink


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


def open_database(
    settings: PlatformSettings, clock: Clock, service: Service
) -> AbstractAsyncContextManager[Database]:
    """The database of a service at VANTAGE_DB_URL, migrated."""
    url = settings.db_url
    if _scheme(url) == "sqlite+aiosqlite":
        from shared.db.sqlite import open_sqlite

        folder = _folder(url, settings.data_dir / "db")
        return open_sqlite(
            f"sqlite+aiosqlite:///{folder}",
            service=service.name,
            clock=clock,
            migrations=service.migrations,
        )
    if _scheme(url) == "postgresql+asyncpg":
        from shared.db.postgres import open_postgres

        return open_postgres(
            url,
            service=service.name,
            clock=clock,
            migrations=service.migrations,
            pool=settings.db_pool,
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

        access, secret = bare(settings.s3_access_key), bare(settings.s3_secret_key)
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


def open_own_cache(clock: Clock) -> AbstractAsyncContextManager[Cache]:
    """A cache of this process alone."""
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


def bare(secret: SecretStr | None) -> str | None:
    """A secret as its adapter needs it."""
    return None if secret is None else secret.get_secret_value()


def _access(settings: PlatformSettings) -> Access:
    from shared.bus.kafka import Access

    return Access(
        security=settings.kafka_security,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=bare(settings.kafka_password),
        ca=settings.kafka_ca,
        cert=settings.kafka_cert,
        key=settings.kafka_key,
    )


def _unknown(setting: str, url: str, known: str) -> Setup:
    from shared.settings import without_password

    return Setup(f"{setting}={without_password(url)}: no adapter for it here; use {known}")
