"""A circuit breaker: a server that does not answer costs one caller a wait now and then, not every caller every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 3
PAUSE_S = 1.0


class Breaker:
    """Closed: all pass. After `failures` in a row it opens, and one caller in each `pause` seconds may try (half-open).

    The first success closes it (M. Nygard, "Release It!", 2007, chapter 5).
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        failures: int = FAILURES,
        pause: float = PAUSE_S,
    ) -> None:
        self._monotonic = monotonic
        self._most = failures
        self._pause = pause
        self._failures = 0
        self._next_try = 0.0

    @property
    def open(self) -> bool:
        """Whether it has opened and no success has closed it."""
        return self._failures >= self._most

    def admits(self) -> bool:
        """Whether the caller may ask the server now. Where it is open, this caller becomes the one that tries."""
        if not self.open:
            return True
        now = self._monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + self._pause
        return True

    def worked(self) -> None:
        """The server answered."""
        self._failures = 0

    def failed(self) -> None:
        """The server did not answer."""
        self._failures += 1
        self._next_try = self._monotonic() + self._pause
