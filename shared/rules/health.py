"""Whether a camera was looking: which share of a window its marks do not cover."""

from collections import deque

import msgspec

from shared.rules.durations import SECOND

TOLERATED = 20
"""A window is known while at most one part in this many (5 %) of it is uncovered."""


class HealthState(msgspec.Struct, array_like=True):
    """What a checkpoint keeps of `Health`."""

    last: int | None
    period: int
    gaps: list[tuple[int, int]]


class Health:
    """Marks of one camera (frames looked at or not, heartbeats) in event time.

    Two marks closer than max(3 periods, 1 s) cover the time between them; a gap is what lies between two others,
    or what the stream itself called interrupted. Gaps older than `memory` are forgotten.
    """

    __slots__ = ("_gaps", "_last", "_period", "memory")

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._last: int | None = None
        self._period = SECOND
        self._gaps: deque[tuple[int, int]] = deque()

    def mark(self, at: int, period: int | None = None) -> None:
        """The camera was there at `at`; `period` is the expected time between looks from now on."""
        if period is not None:
            self._period = period
        last = self._last
        if last is None or at > last:
            self._last = at
            if last is not None and at - last > max(3 * self._period, SECOND):
                self._remember(last, at)
        if self._gaps:
            self._forget(at - self.memory)

    def away(self, since: int, until: int) -> None:
        """Nothing is known about the time from `since` until `until`."""
        if until > since:
            self._remember(since, until)
            self._last = until if self._last is None else max(self._last, until)

    @property
    def sound(self) -> bool:
        """No gap is remembered: every window is known."""
        return not self._gaps

    def unknown(self, at: int, window: int) -> bool:
        """Say whether over 5 % of the `window` that ends at `at` is uncovered."""
        start, uncovered = at - window, 0
        for since, until in self._gaps:
            uncovered += max(0, min(until, at) - max(since, start))
        return uncovered * TOLERATED > window

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The gaps that are remembered, each from `since` until `until`."""
        return tuple(self._gaps)

    @property
    def period(self) -> int:
        """The expected time between looks."""
        return self._period

    def last_gap(self) -> tuple[int, int]:
        """The newest gap; (0, 0) where none is remembered."""
        return self._gaps[-1] if self._gaps else (0, 0)

    def dump(self) -> HealthState:
        """What `load` needs."""
        return HealthState(self._last, self._period, list(self._gaps))

    def load(self, state: HealthState) -> None:
        """Go on from a dump."""
        self._last, self._period = state.last, state.period
        self._gaps = deque((since, until) for since, until in state.gaps)

    def _remember(self, since: int, until: int) -> None:
        """Add a gap; overlapping ones become one, so that no moment counts twice."""
        while self._gaps and self._gaps[-1][1] >= since:
            older_since, older_until = self._gaps.pop()
            since, until = min(since, older_since), max(until, older_until)
        self._gaps.append((since, until))

    def _forget(self, before: int) -> None:
        while self._gaps and self._gaps[0][1] <= before:
            self._gaps.popleft()
