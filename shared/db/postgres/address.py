"""VANTAGE_DB_URL=postgresql+asyncpg://...: where the server is, how it is spoken to, and TLS by libpq's parameters."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL

CONNECT_S = 5.0
STATEMENT_S = 5.0
LOCK_S = 4.0
IDLE_S = 15.0  # a process that froze within a transaction lets its locks go
ANSWER_S = STATEMENT_S + 2.0  # the server's own word comes first, unless nothing comes at all

PARAMETERS = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
EXAMPLE = "postgresql+asyncpg://user:password@host:5432/database"

Tls = ssl.SSLContext | Literal["disable", "prefer"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Address:
    """One database on one server. `shown` is its URL as people may see it: without the password."""

    shown: str
    host: str
    port: int
    database: str
    user: str | None
    password: str | None  # None: PGPASSWORD, or the file ~/.pgpass
    tls: Tls

    async def connect(
        self, schema: str, *, statement_s: float = STATEMENT_S, lock_s: float = LOCK_S
    ) -> asyncpg.Connection:
        """A connection whose names are looked up in `schema`.

        Raises:
            OSError, asyncpg.PostgresError: the server is away or refuses.
        """
        return await asyncpg.connect(
            host=self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            password=self.password,
            ssl=self.tls,
            timeout=CONNECT_S,
            command_timeout=statement_s + ANSWER_S - STATEMENT_S,
            server_settings={
                "application_name": f"vantage {schema}",
                "search_path": schema,
                "timezone": "UTC",
                "jit": "off",  # our statements are short: compiling them costs more than they do
                "statement_timeout": _ms(statement_s),
                "lock_timeout": _ms(lock_s),
                "idle_in_transaction_session_timeout": _ms(IDLE_S),
                # A client whose machine vanished is noticed within half a minute.
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        )

    def setup(self, words: str) -> Setup:
        """The error of a process that cannot start on this database."""
        return Setup(f"VANTAGE_DB_URL={self.shown}: {words}")


def read_address(url: str) -> Address:
    """Read the URL, and the certificates that it names.

    Raises:
        Setup: it is no such URL, or a certificate cannot be read; names the parameter, never the password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise Setup(f"VANTAGE_DB_URL is no URL; write {EXAMPLE}") from None
    shown = parsed.render_as_string(hide_password=True)
    query = _query(parsed, shown)
    host = parsed.host or query.get("host")
    if parsed.drivername != "postgresql+asyncpg" or not parsed.database or not host:
        raise Setup(f"VANTAGE_DB_URL={shown}: host or database is missing; write {EXAMPLE}")
    return Address(
        shown=shown,
        host=host,
        port=parsed.port or 5432,
        database=parsed.database,
        user=parsed.username,
        password=None if parsed.password is None else str(parsed.password),
        tls=_tls(query, shown),
    )


def _query(parsed: URL, shown: str) -> dict[str, str]:
    """The parameters of the URL. What is unknown is not echoed: it may be a password."""
    found: dict[str, str] = {}
    for name, value in parsed.query.items():
        if name not in PARAMETERS or not isinstance(value, str):
            bare = shown.partition("?")[0]
            raise Setup(
                f"VANTAGE_DB_URL={bare}: the parameter {name!r} is unknown or stands twice; "
                f"known are {', '.join(PARAMETERS)}"
            )
        found[name] = value
    return found


def _tls(query: Mapping[str, str], shown: str) -> Tls:
    """What `sslmode` and its files come to, as libpq defines them.

    A root certificate beside `require` is verified against, as libpq does; without one, `verify-ca` and
    `verify-full` trust the authorities of this machine.
    """
    mode = query.get("sslmode", "prefer")
    if mode not in MODES:
        raise Setup(
            f"VANTAGE_DB_URL={shown}: sslmode={mode!r} is unknown; use one of {', '.join(MODES)}"
        )
    files = [name for name in ("sslrootcert", "sslcert", "sslkey") if name in query]
    if mode in ("disable", "prefer"):
        if files:
            raise Setup(
                f"VANTAGE_DB_URL={shown}: {files[0]} needs sslmode=verify-full "
                "(or require, verify-ca): otherwise nothing holds the server to it"
            )
        return "disable" if mode == "disable" else "prefer"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = mode == "verify-full"
    _trust(context, mode, query.get("sslrootcert"), shown)
    _introduce(context, query, shown)
    return context


def _trust(context: ssl.SSLContext, mode: str, root: str | None, shown: str) -> None:
    if root is not None and root != "system":
        try:
            context.load_verify_locations(cafile=Path(root).expanduser())
        except (OSError, ssl.SSLError) as error:
            raise _unreadable("sslrootcert", root, error, shown) from None
    elif mode == "require":
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)


def _introduce(context: ssl.SSLContext, query: Mapping[str, str], shown: str) -> None:
    """Show a certificate of our own where one is named."""
    certificate, key = query.get("sslcert"), query.get("sslkey")
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise Setup(f"VANTAGE_DB_URL={shown}: sslcert and sslkey go together; name both files")
    try:
        context.load_cert_chain(
            Path(certificate).expanduser(), Path(key).expanduser(), password=_no_passphrase
        )
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _unreadable("sslcert, sslkey", f"{certificate}, {key}", error, shown) from None


def _no_passphrase() -> str:
    """OpenSSL would ask the terminal for it."""
    raise ValueError("the key has a passphrase; store it without one, readable by this user alone")


def _unreadable(name: str, value: str, error: Exception, shown: str) -> Setup:
    reason = getattr(error, "strerror", None) or str(error)
    return Setup(
        f"VANTAGE_DB_URL={shown}: {name}={value} cannot be read ({reason}); name a PEM file"
    )


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
