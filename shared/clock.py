"""The two clocks: host time in UTC for records, monotonic time for durations."""

from __future__ import annotations

import time
from typing import Protocol

from schemas.event import micros as micros
from schemas.event import moment as moment


class Clock(Protocol):
    """Host time, handed in wherever a decision would otherwise look at the wall."""

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""
        ...


class SystemClock:
    """The host's clocks."""

    def now(self) -> int:
        """Host time, microseconds UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to go on; for tests and replays."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        """The time it stands at, microseconds UTC."""
        return self._now

    def monotonic(self) -> float:
        """The same time in seconds."""
        return self._now / 1_000_000

    def advance(self, seconds: float) -> None:
        """Go on by `seconds`."""
        self._now += round(seconds * 1_000_000)
