"""The error family. An error is an instruction: to the bus engine, and (see `shared.http`) an HTTP status.

VantageError
├── Invalid            422  a value is wrong: names the field, the value and the remedy
├── NotFound           404
├── Conflict           409  the state does not allow it
├── Forbidden          403
├── Unauthenticated    401
├── Unavailable        503  a dependency is away: try later
│   └── TooMany        429  the caller asks too often: try later
├── Setup               -   the process cannot start; printed without a traceback, exit code 2
├── Transient           -   engine: try again, with jitter
└── Poison              -   engine: this record will never pass; dead-letter it
"""

from __future__ import annotations


class VantageError(Exception):
    """Anything Vantage says on purpose. `code` is stable and meant for programs."""

    code = "error"


class Invalid(VantageError):
    """A value is wrong. The text names the field, the value and the remedy."""

    code = "invalid"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotFound(VantageError):
    """There is no such thing, or the caller may not know that there is."""

    code = "not_found"


class Conflict(VantageError):
    """The state does not allow it; the text says which state."""

    code = "conflict"


class Forbidden(VantageError):
    """The caller is known and may not do this."""

    code = "forbidden"


class Unauthenticated(VantageError):
    """The caller is not known."""

    code = "unauthenticated"


class Unavailable(VantageError):
    """A dependency is away; `retry_after` seconds may help."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooMany(Unavailable):
    """The caller asks too often; `retry_after` seconds help."""

    code = "too_many"


class Setup(VantageError):
    """The process cannot start as it is set up. The text says what to change."""

    code = "setup"


class Transient(VantageError):
    """It may pass on another try: the engine retries with jitter and pauses the partition meanwhile."""

    code = "transient"


class Poison(VantageError):
    """This record will never pass: the engine puts it on the dead-letter topic and goes on."""

    code = "poison"
