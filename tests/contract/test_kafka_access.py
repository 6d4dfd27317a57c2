"""Coming in to a real broker: TLS, mutual TLS, logins; and each mistake is found at the start, with its remedy."""

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared import platform
from shared.bus.kafka import Access, open_kafka, open_topics
from shared.errors import Setup
from shared.settings import PlatformSettings
from tests.contract.bus import Seen, facts, make_engine, make_topic, running, subscribe, until
from tests.engines.certificates import make_certificates
from tests.engines.kafka import KafkaBroker
from tests.engines.kafka_doors import PASSWORDS, Doors
from tests.engines.old_broker import old_broker

pytestmark = pytest.mark.kafka
BOUND = 30.0  # seconds in which a start must have said what is wrong
ALICE = {"username": "alice", "password": PASSWORDS["alice"]}


def access(doors: Doors, security: str, **more: object) -> Access:
    """TLS with the authority of the test, unless `more` says otherwise."""
    ca = {"ca": doors.certificates.ca} if security.endswith("SSL") else {}
    return Access(**{"security": security, **ca, **more})  # type: ignore[arg-type]  # by name


async def refused(url: str, access: Access, match: str) -> None:
    """It is refused in bounded time, with this text."""
    started = time.monotonic()
    with pytest.raises(Setup, match=match) as told:
        async with open_kafka(url, [make_topic()], access=access):
            pass
    assert time.monotonic() - started < BOUND
    assert not [secret for secret in PASSWORDS.values() if secret in str(told.value)]


@pytest.mark.parametrize(
    ("door", "security", "mechanism"),
    [
        ("TLS", "SSL", None),
        ("MUTUAL", "SSL", None),
        ("LOGIN", "SASL_PLAINTEXT", "PLAIN"),
        ("LOGINTLS", "SASL_SSL", "PLAIN"),
        ("LOGINTLS", "SASL_SSL", "SCRAM-SHA-256"),
        ("SCRAMONLY", "SASL_SSL", "SCRAM-SHA-512"),
    ],
)
async def test_every_door_lets_a_whole_log_in(
    kafka_doors: Doors, door: str, security: str, mechanism: str | None
) -> None:
    more: dict[str, object] = {**ALICE, "mechanism": mechanism} if mechanism else {}
    if door == "MUTUAL":
        client = kafka_doors.certificates.client
        more |= {"cert": client.cert, "key": client.key}
    topic, seen = make_topic(), Seen()
    way = access(kafka_doors, security, **more)
    async with open_kafka(kafka_doors.urls[door], [topic], access=way) as log:
        await log.append(facts(topic, ["gate"], range(5)))
        async with running(make_engine(log, subscribe(topic, seen))):
            await until(lambda: seen.of("gate") == [0, 1, 2, 3, 4])
        assert (await log.check()).status == "healthy"


async def test_the_settings_of_a_process_lead_in(kafka_doors: Doors) -> None:
    client = kafka_doors.certificates.client
    settings = PlatformSettings(
        bus_url=kafka_doors.urls["LOGINTLS"],
        kafka_security="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_username="alice",
        kafka_password=SecretStr(PASSWORDS["alice"]),
        kafka_ca=kafka_doors.certificates.ca,
        kafka_cert=client.cert,
        kafka_key=client.key,
    )
    async with platform.open_log(settings) as log:
        assert (await log.check()).status == "healthy"
    async with platform.open_topics(settings) as topics:
        assert await topics.plan() == []


async def test_a_wrong_password(kafka_doors: Doors) -> None:
    wrong = {"username": "alice", "password": "guess"}
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        way = access(kafka_doors, "SASL_SSL", mechanism=mechanism, **wrong)
        await refused(
            kafka_doors.urls["LOGINTLS"],
            way,
            r"refuses the login of 'alice'.*VANTAGE_KAFKA_PASSWORD",
        )


async def test_a_mechanism_that_the_broker_does_not_take(kafka_doors: Doors) -> None:
    way = access(kafka_doors, "SASL_SSL", mechanism="PLAIN", **ALICE)
    await refused(
        kafka_doors.urls["SCRAMONLY"], way, r"does not take PLAIN.*VANTAGE_KAFKA_SASL_MECHANISM"
    )


async def test_tls_to_a_plain_port_and_plain_to_a_tls_port(kafka_doors: Doors) -> None:
    await refused(
        kafka_doors.urls["PLAINTEXT"],
        access(kafka_doors, "SSL"),
        "does not speak TLS.*VANTAGE_KAFKA_SECURITY",
    )
    await refused(kafka_doors.urls["TLS"], Access(), "it speaks TLS there.*VANTAGE_KAFKA_SECURITY")


async def test_a_login_to_a_port_without_and_none_to_a_port_with(kafka_doors: Doors) -> None:
    await refused(
        kafka_doors.urls["TLS"], access(kafka_doors, "SASL_SSL", **ALICE), "wants no login.*=SSL"
    )
    await refused(kafka_doors.urls["LOGIN"], Access(), "wants a login.*SASL")


async def test_an_authority_that_we_do_not_know(kafka_doors: Doors, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    for ca in (other.ca, None):
        await refused(
            kafka_doors.urls["TLS"],
            Access(security="SSL", ca=ca),
            r"certificate is not trusted.*VANTAGE_KAFKA_CA",
        )


async def test_a_certificate_of_ours_that_is_missing_or_not_trusted(
    kafka_doors: Doors, tmp_path: Path
) -> None:
    url = kafka_doors.urls["MUTUAL"]
    await refused(url, access(kafka_doors, "SSL"), "VANTAGE_KAFKA_CERT and VANTAGE_KAFKA_KEY")
    other = make_certificates(tmp_path / "other").client
    way = access(kafka_doors, "SSL", cert=other.cert, key=other.key)
    await refused(url, way, "VANTAGE_KAFKA_CERT and VANTAGE_KAFKA_KEY")


async def test_a_login_without_rights(kafka_doors: Doors) -> None:
    bob = {"username": "bob", "password": PASSWORDS["bob"]}
    await refused(
        kafka_doors.urls["LOGINTLS"],
        access(kafka_doors, "SASL_SSL", **bob),
        "does not let us create.*AuthorizationFailed.*vantage topics apply",
    )


async def test_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.kafka.contact.PATIENCE", 1.0)
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await refused(f"kafka://127.0.0.1:{port}", Access(), "no answer within 1 s")
        over.set()


async def test_a_broker_that_is_too_old() -> None:
    async with old_broker() as url:
        await refused(url, Access(), "lacks static membership; use Apache Kafka 2.3 or newer")


async def test_one_broker_of_the_list_is_enough(kafka_broker: KafkaBroker) -> None:
    async with open_topics(f"kafka://127.0.0.1:1,{kafka_broker.bootstrap}", []) as topics:
        assert await topics.plan() == []


async def test_a_server_that_is_no_broker() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await refused(f"kafka://127.0.0.1:{port}", Access(), "closed the connection")
