"""TLS to PostgreSQL by the URL's parameters, with certificates made here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.clock import ManualClock
from shared.db.postgres import open_postgres
from shared.errors import Setup
from tests.engines.certificates import Certificates, make_certificates
from tests.engines.postgres import PostgresServer, make_postgres

pytestmark = pytest.mark.postgres
CLOCK = ManualClock(now=1)
USER = "vantage"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), client=USER)


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[PostgresServer]:
    server = make_postgres()
    server.sql(f"CREATE ROLE {USER} LOGIN", f"CREATE DATABASE {USER} OWNER {USER}")
    server.speak_tls(certificates, by_certificate=USER)
    server.configure(listen_addresses="127.0.0.1,127.0.0.2")
    server.stop()
    server.start()
    yield server
    server.remove()


async def spoken(url: str, service: str = "vms") -> str:
    """The protocol in which the server and we speak; empty: in the clear."""
    opened = open_postgres(url, service=service, clock=CLOCK)
    async with opened as database, database.read() as reader:
        found = await reader.execute(
            text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        )
        return str(found.scalar_one() or "")


async def refusal(url: str) -> str:
    with pytest.raises(Setup, match="VANTAGE_DB_URL") as refused:
        await spoken(url)
    return str(refused.value)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_the_server_is_held_to_its_authority(
    server: PostgresServer, certificates: Certificates, mode: str
) -> None:
    url = f"{server.url(USER)}?sslmode={mode}&sslrootcert={certificates.ca}"
    assert await spoken(url) in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_another_authority_is_refused(
    server: PostgresServer, tmp_path: Path, mode: str
) -> None:
    other = make_certificates(tmp_path / "other")
    words = await refusal(f"{server.url(USER)}?sslmode={mode}&sslrootcert={other.ca}")
    assert "TLS failed" in words
    assert "sslrootcert" in words


async def test_an_unknown_authority_is_refused_where_none_is_named(server: PostgresServer) -> None:
    assert "TLS failed" in await refusal(f"{server.url(USER)}?sslmode=verify-full")


async def test_the_name_counts_in_verify_full_alone(
    server: PostgresServer, certificates: Certificates
) -> None:
    elsewhere = server.url(USER).replace("127.0.0.1", "127.0.0.2")
    assert await spoken(f"{elsewhere}?sslmode=verify-ca&sslrootcert={certificates.ca}")
    words = await refusal(f"{elsewhere}?sslmode=verify-full&sslrootcert={certificates.ca}")
    assert "127.0.0.2" in words


async def test_what_is_not_said_is_encrypted_where_the_server_can(server: PostgresServer) -> None:
    assert await spoken(server.url(USER))
    assert await spoken(f"{server.url(USER)}?sslmode=disable") == ""


async def test_a_server_without_tls_is_refused(
    postgres_url: str, certificates: Certificates
) -> None:
    words = await refusal(f"{postgres_url}?sslmode=verify-full&sslrootcert={certificates.ca}")
    assert "speaks no TLS" in words


async def test_a_certificate_in_place_of_a_password(
    server: PostgresServer, certificates: Certificates
) -> None:
    url = f"postgresql+asyncpg://{USER}@127.0.0.1:{server.port}/{USER}"
    tls = f"sslmode=verify-full&sslrootcert={certificates.ca}"
    own = f"sslcert={certificates.client.cert}&sslkey={certificates.client.key}"
    assert await spoken(f"{url}?{tls}&{own}", "ingest")
    assert "may not connect" in await refusal(f"{url}?{tls}")
    swapped = f"sslcert={certificates.client.cert}&sslkey={certificates.server.key}"
    assert "sslcert, sslkey" in await refusal(f"{url}?{tls}&{swapped}")
