"""What stands in VANTAGE_CACHE_URL: `redis[s]://[user:password@]host[:port][/db][?option=value&...]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import Setup
from shared.settings import without_password

SETTING = "VANTAGE_CACHE_URL"
PORT = 6379
PREFIX = "vantage"
COMMAND_S = 2.0
FORM = "redis://[user:password@]host[:port][/db], or rediss:// for TLS"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_FILES, "ssl_check_hostname")
_OPTIONS = ("prefix", "timeout", *_TLS)


class Address(NamedTuple):
    """A Redis server and how to speak to it. `shown` is the URL without its password."""

    shown: str
    host: str
    port: int
    db: int
    user: str | None
    password: str | None
    prefix: str  # of every key, so that two installations can share one server
    timeout: float  # seconds that a command may take, and may wait for a connection before
    tls: dict[str, Any] | None  # None: without; else what redis-py calls these options


def parse(url: str) -> Address:
    """Read the URL; verification of the server's certificate cannot be switched off, only of its name.

    Raises:
        Setup: it is no such URL, names an unknown option, or a file that is not there.
    """
    shown = without_password(url).partition("?")[0]
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
    except ValueError:  # its text may quote a part of the password
        raise _wrong(
            shown,
            "the port is no number, or the password has a '/', '?' or '#' that is not encoded",
        ) from None
    if not parts.hostname:
        raise _wrong(shown, "the host is missing")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise _wrong(shown, f"unknown option {name!r}; known are {', '.join(_OPTIONS)}")
    return Address(
        shown=shown,
        host=parts.hostname,
        port=port,
        db=_db(shown, parts.path.removeprefix("/")),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        prefix=_prefix(shown, options.get("prefix", PREFIX)),
        timeout=_timeout(shown, options.get("timeout", str(COMMAND_S))),
        tls=_tls(shown, parts.scheme.lower() == "rediss", options),
    )


def _db(shown: str, text: str) -> int:
    if text and not (text.isdecimal() and len(text) <= 5):
        raise _wrong(shown, "the database, behind the last slash, is a number such as 0")
    return int(text or 0)


def _prefix(shown: str, text: str) -> str:
    if not text or not all(each.isalnum() or each in "_-." for each in text):
        raise _wrong(shown, f"prefix={text}; give letters, digits, '_', '-' or '.'")
    return text


def _timeout(shown: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 30:
        raise _wrong(shown, f"timeout={text}; give seconds from 0.05 to 30")
    return value


def _tls(shown: str, wanted: bool, options: dict[str, str]) -> dict[str, Any] | None:
    given = {name: value for name, value in options.items() if name in _TLS}
    if not wanted:
        if given:
            raise _wrong(shown, f"{next(iter(given))} needs TLS; write rediss://")
        return None
    for name in _FILES:
        if name in given and not Path(given[name]).is_file():
            raise _wrong(shown, f"{name}={given[name]}: there is no such file")
    if ("ssl_certfile" in given) != ("ssl_keyfile" in given):
        raise _wrong(shown, "ssl_certfile and ssl_keyfile go together")
    check = given.pop("ssl_check_hostname", "true").lower()
    if check not in ("true", "false"):
        raise _wrong(shown, f"ssl_check_hostname={check}; give true or false")
    return {**given, "ssl_check_hostname": check == "true", "ssl_cert_reqs": "required"}


def _wrong(shown: str, why: str) -> Setup:
    return Setup(f"{SETTING}={shown}: {why}. Write {FORM}.")
