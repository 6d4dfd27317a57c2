"""PostgreSQL's errors in plain words with their remedy, told apart by SQLSTATE (PostgreSQL's documentation, appendix A)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.engine import DatabaseUnavailable, Unstorable, Unwritable

if TYPE_CHECKING:
    from shared.errors import VantageError

AWAY = (
    "the server does not answer; see whether it runs at this address (where it ended by itself, as it does when it "
    "cannot write its own log, that says why: a full disk, say) and a firewall lets us through"
)
FULL = "the server's disk is full; free some space there"
READ_ONLY_DISK = (
    "the server's disk has turned read-only; look at its system's log, mend and mount it anew"
)
BUSY = (
    "no connection was free in time; raise VANTAGE_DB_POOL, or look for statements that take long"
)

LOCKED = "55P03"

_BY_STATE = {
    "25006": "it is read-only: a standby, or default_transaction_read_only is on; name the primary",
    "25P03": "a transaction waited too long for something else and was ended; try again",
    "28000": "this user may not connect; look at pg_hba.conf, and at sslmode and the user in the URL",
    "28P01": "user or password is refused; correct them in the URL (or in PGPASSWORD, ~/.pgpass)",
    "3D000": "there is no such database; make it: CREATE DATABASE name OWNER user",
    "3F000": "the service's schema belongs to another user; ALTER SCHEMA name OWNER TO user",
    "40001": "another transaction was in the way; try again",
    "40P01": "two transactions waited for each other and this one gave way; try again",
    "42501": "this user lacks a right; make it the owner: ALTER DATABASE name OWNER TO user",
    "53100": FULL,
    "53200": "the server is out of memory or lock space; raise max_locks_per_transaction or its memory",
    "53300": "the server has no connection left; raise its max_connections or lower VANTAGE_DB_POOL",
    LOCKED: "another transaction holds what this one needs; try again, and look for one that stays open",
    "57014": "the statement took too long and was stopped; ask for less, or look at the server's load",
    "57P01": "the server was shut down; start it again",
    "57P02": "the server crashed and restarts; try again in a moment",
    "57P03": "the server is starting up or shutting down; try again in a moment",
    "57P04": "the database was removed; restore it from a backup",
}
_BY_CLASS = {
    "08": "the connection broke; see whether the server runs and the network stands",
    "53": "the server is out of resources; look at its log",
    "57": "the server was told to stop this; look at its log",
    "58": "the server's disk answers with errors; look at its log",
    "XX": "the server found damage or a fault of its own; look at its log, keep a backup at hand",
}
# What the system told the server counts for more than the state under which it is passed on: a file that cannot be
# opened on a read-only disk comes as a lacking right, one that cannot be written at a connection as a fault of its own.
_BY_WORDS = (
    ("No space left on device", FULL),
    ("could not write init file", FULL),
    ("Read-only file system", READ_ONLY_DISK),
)
_UNWRITABLE = frozenset({FULL, READ_ONLY_DISK, _BY_STATE["25006"]})
_UNSTORABLE = {
    "22001": "a text is longer than its column; send a shorter one",
    "22003": "a number is out of range; send a smaller one",
    "22021": "a text holds a NUL character, which cannot be stored; remove it",
    "22P05": "a text holds a NUL character, which cannot be stored; remove it",
}
# asyncpg refuses these before it sends them, under one state, with words alone.
UNSENT = "22000"
_UNSENDABLE = (
    ("codec can't encode", "a text holds half a surrogate pair, which is no character; remove it"),
    ("value out of int", "a number is out of range; send a smaller one"),
)


def read_complaint(error: Exception, shown: str) -> VantageError | None:
    """The error in plain words, or None where the statement itself is wrong. `shown`: the URL for people."""
    refused = _refused(error)
    if refused is not None:
        return Unstorable(refused)
    words = words_for(error)
    if words is None:
        return None
    kind = Unwritable if words in _UNWRITABLE else DatabaseUnavailable
    return kind(f"the database {shown}: {words}")


def words_for(error: Exception) -> str | None:
    """What is wrong with server, network or account, or None where it is the statement."""
    if isinstance(error, PoolTimeout):
        return BUSY
    state = state_of(error)
    told = str(_driver_error(error)) if state else ""
    if words := next((words for sign, words in _BY_WORDS if sign in told), None):
        return words
    if state:
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2])
    if _stale(error):
        return "the schema was changed by an update meanwhile; try again"
    if isinstance(error, OSError):
        return _unreached(error)
    about = isinstance(_driver_error(error), asyncpg.InterfaceError | InvalidRequestError)
    return _BY_CLASS["08"] if about and "connection is closed" in str(error).lower() else None


def state_of(error: Exception) -> str:
    """The SQLSTATE, or nothing where the error is not the server's."""
    driver = _driver_error(error)
    if _stale(error):
        return ""
    return str(getattr(driver, "sqlstate", None) or "")


def _refused(error: Exception) -> str | None:
    state = state_of(error)
    if state != UNSENT:
        return _UNSTORABLE.get(state)
    said = str(_driver_error(error))
    return next((words for sign, words in _UNSENDABLE if sign in said), None)


def _driver_error(error: Exception) -> BaseException:
    """The driver's own error below SQLAlchemy's two."""
    found: BaseException = getattr(error, "orig", None) or error
    return (
        found.__cause__
        if isinstance(found.__cause__, asyncpg.PostgresError | asyncpg.InterfaceError)
        else found
    )


def _stale(error: Exception) -> bool:
    return isinstance(_driver_error(error), asyncpg.InvalidCachedStatementError)


def _unreached(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error}); look at sslmode, sslrootcert and the server's certificate"
    if "rejected SSL upgrade" in str(error):
        return "the server speaks no TLS; switch it on there (ssl = on), or lower sslmode"
    said = "it took too long" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return f"{AWAY} ({said or type(error).__name__})"
