"""The first contact with the brokers: does one answer, is it the right kind, and if not, what is to be changed.

aiokafka only says "unable to bootstrap". Each address is tried here on its own, so that the first error is the true one.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.bus.kafka.access import Access

PATIENCE = 8.0  # seconds for one address
NEEDED = {  # api key: (least version, what it is for)
    0: (3, "records with headers"),
    11: (5, "static membership"),
    22: (0, "idempotent sends"),
    44: (0, "incremental changes of configurations"),
}
TOO_OLD = "use Apache Kafka 2.3 or newer"


class _Place(NamedTuple):
    host: str
    port: int


class _Tried(NamedTuple):
    place: _Place
    reason: str
    fatal: bool  # another address will not do better


async def greet(servers: str, access: Access) -> None:
    """Return once one of the brokers has answered as we need it.

    Raises:
        Setup: none does; says for each why, and the remedy.
    """
    options = access.options()
    tried: list[_Tried] = []
    for address in servers.split(","):
        host, _, port = address.rpartition(":")
        place = _Place(host.strip("[]"), int(port))
        found = await _try(place, access, options)
        if found is None:
            return
        tried.append(found)
        if found.fatal:
            break
    reasons = "; ".join(f"{one.place.host}:{one.place.port}: {one.reason}" for one in tried)
    raise Setup(f"no Kafka broker can be used (VANTAGE_BUS_URL). {reasons}")


async def _try(place: _Place, access: Access, options: dict[str, Any]) -> _Tried | None:
    try:
        async with asyncio.timeout(PATIENCE), _connection(place, options) as it:
            _same_language(it)
            await it.send(MetadataRequest([]))
    except IncompatibleBrokerVersion as error:
        return _Tried(place, f"{error}; {TOO_OLD}", fatal=True)
    except (
        SaslAuthenticationFailed,
        UnsupportedSaslMechanismError,
        IllegalSaslStateError,
    ) as error:
        return _Tried(place, _login_refused(error, access), fatal=True)
    except TimeoutError:
        return _Tried(place, await _silent(place, access), fatal=False)
    except (OSError, KafkaError, AssertionError) as error:
        return _Tried(place, await _why(error, place, access), fatal=False)
    except RuntimeError as error:  # aiokafka and the broker share no version of a request
        return _Tried(place, f"{error}; {TOO_OLD}", fatal=True)
    return None


@asynccontextmanager
async def _connection(place: _Place, options: dict[str, Any]) -> AsyncIterator[AIOKafkaConnection]:
    connection = await create_conn(*place, client_id="vantage-contact", **options)
    try:
        yield connection
    finally:
        await connection.close()


def _same_language(connection: AIOKafkaConnection) -> None:
    for key, (least, purpose) in NEEDED.items():
        _, newest = connection._versions.get(key, (0, -1))  # aiokafka has no public word for it
        if newest < least:
            raise IncompatibleBrokerVersion(f"it lacks {purpose}")


def _login_refused(error: KafkaError, access: Access) -> str:
    if isinstance(error, IllegalSaslStateError):
        wanted = "SSL" if access.tls else "PLAINTEXT"
        return f"it wants no login; set VANTAGE_KAFKA_SECURITY={wanted} and unset the username"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it does not take {access.mechanism}; set VANTAGE_KAFKA_SASL_MECHANISM ({error})"
    return (
        f"it refuses the login of {access.username!r};"
        " check VANTAGE_KAFKA_USERNAME, VANTAGE_KAFKA_PASSWORD and VANTAGE_KAFKA_SASL_MECHANISM"
    )


async def _why(error: BaseException, place: _Place, access: Access) -> str:
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message}); VANTAGE_KAFKA_CA must name"
            " the authority that signed it, and the certificate the host in VANTAGE_BUS_URL"
        )
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or ""):
        return _certificate_wanted(cause.reason or "")
    if access.tls and isinstance(cause, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        if not await _speaks_tls(place):
            return "it does not speak TLS there; set VANTAGE_KAFKA_SECURITY to PLAINTEXT or SASL_PLAINTEXT"
        return f"TLS failed ({cause}); {_certificate_wanted('')}"
    if isinstance(error, KafkaConnectionError):
        return await _hung_up(place, access)
    if isinstance(error, OSError):
        return (
            f"nobody answers ({error.strerror or error}); start it (where it ends by itself, as it does when its"
            " disk is full or read-only, its log says why), or correct VANTAGE_BUS_URL"
        )
    return f"{error!r}; check VANTAGE_BUS_URL and VANTAGE_KAFKA_SECURITY"


def _certificate_wanted(reason: str) -> str:
    said = f" ({reason})" if reason else ""
    return (
        f"it wants a certificate of ours that it trusts{said};"
        " set VANTAGE_KAFKA_CERT and VANTAGE_KAFKA_KEY"
    )


async def _hung_up(place: _Place, access: Access) -> str:
    """It accepted the connection and closed it without a word."""
    if not access.tls and await _speaks_tls(place):
        return "it speaks TLS there; set VANTAGE_KAFKA_SECURITY to SSL or SASL_SSL"
    if access.tls and access.cert is None and not access.login:
        return f"it closed the connection: {_certificate_wanted('')}, or a login: use SASL_SSL"
    if not access.login:
        return (
            "it closed the connection: it wants a login; set VANTAGE_KAFKA_SECURITY to SASL_SSL (or it is just ending,"
            " as it does when its disk is full or read-only: its log says why)"
        )
    return "it closed the connection; look into its own log"


async def _silent(place: _Place, access: Access) -> str:
    if not access.tls and await _speaks_tls(place):
        return "it speaks TLS there; set VANTAGE_KAFKA_SECURITY to SSL or SASL_SSL"
    return f"no answer within {PATIENCE:g} s; is it a Kafka broker, and does it work?"


async def _speaks_tls(place: _Place) -> bool:
    """Whether a TLS server listens; its certificate does not matter, and nothing is sent to it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(PATIENCE / 2):
            _, writer = await asyncio.open_connection(*place, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
