"""Where the brokers are and how we show who we are: what every client of ours is made with."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from shared.errors import Setup

if TYPE_CHECKING:
    from pathlib import Path

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
REQUEST = 15.0  # seconds that one request may take
PORT = 9092


@dataclass(frozen=True, kw_only=True)
class Access:
    """The settings `VANTAGE_KAFKA_*` that concern the way to the brokers.

    `ca`, `cert` and `key` are PEM files; without `ca` the authorities of the operating system are trusted.
    """

    security: Security = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security.endswith("SSL")

    @property
    def login(self) -> bool:
        """Whether we show a name and a password."""
        return self.security.startswith("SASL")

    def options(self) -> dict[str, Any]:
        """Arguments of every aiokafka client and connection.

        Raises:
            Setup: settings contradict each other, or a file cannot be used.
        """
        self._check()
        found: dict[str, Any] = {
            "security_protocol": self.security,
            "request_timeout_ms": round(REQUEST * 1000),
        }
        if self.tls:
            found["ssl_context"] = self._context()
        if self.login:
            found["sasl_mechanism"] = self.mechanism
            found["sasl_plain_username"] = self.username
            found["sasl_plain_password"] = self.password
        return found

    def _check(self) -> None:
        here = f"VANTAGE_KAFKA_SECURITY={self.security}"
        if self.login and not (self.username and self.password):
            raise Setup(f"{here} needs VANTAGE_KAFKA_USERNAME and VANTAGE_KAFKA_PASSWORD; set both")
        if not self.login and (self.username or self.password):
            raise Setup(f"{here} shows no login; set it to SASL_SSL, or unset the username")
        files = {"CA": self.ca, "CERT": self.cert, "KEY": self.key}
        given = [f"VANTAGE_KAFKA_{name}" for name, path in files.items() if path is not None]
        if given and not self.tls:
            raise Setup(f"{here} does not encrypt; set it to SSL or SASL_SSL, or unset {given[0]}")
        if self.key is not None and self.cert is None:
            raise Setup("VANTAGE_KAFKA_KEY needs its certificate; set VANTAGE_KAFKA_CERT")

    def _context(self) -> ssl.SSLContext:
        """One that checks the broker's certificate and name."""
        name, path = "VANTAGE_KAFKA_CA", self.ca
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert is not None:
                name, path = "VANTAGE_KAFKA_CERT or VANTAGE_KAFKA_KEY", self.cert
                context.load_cert_chain(self.cert, self.key, password=_encrypted)
        except OSError as error:
            why = error.strerror or getattr(error, "reason", None) or str(error)
            raise Setup(f"{name}={path} cannot be used: {why}; name a readable PEM file") from error
        return context


def _encrypted() -> str:
    """OpenSSL would ask the terminal, which a server has none of."""
    raise Setup("VANTAGE_KAFKA_KEY is encrypted; name a file without a passphrase, for us alone")


def servers(url: str) -> str:
    """`host:port,host:port` of `kafka://host[:port][,...]`.

    Raises:
        Setup: names no broker, or holds what belongs into a setting of its own.
    """
    named = url.partition("://")[2].rstrip("/")
    if "@" in named:
        raise Setup(
            "VANTAGE_BUS_URL holds a login; it belongs into VANTAGE_KAFKA_USERNAME and"
            " VANTAGE_KAFKA_PASSWORD, with VANTAGE_KAFKA_SECURITY=SASL_SSL"
        )
    found = [_address(part.strip(), url) for part in named.split(",")]
    return ",".join(found)


def _address(text: str, url: str) -> str:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(PORT)
    usable = host and not set(host) & set("/?# ") and port.isdecimal() and 0 < int(port) < 65536
    if not usable:
        raise Setup(
            f"VANTAGE_BUS_URL={url}: {text!r} is no broker; use kafka://host:port[,host:port]"
        )
    return f"{host}:{port}"
