"""Which pictures are sent on: so many a second of the stream's own time, evenly."""

from __future__ import annotations

ALL = 0.98
"""A rate this close to the source's own takes every picture: jitter must not cost one."""


class Sampler:
    """Thins a stream to `rate` pictures a second. `fps` is the source's own rate, 0 where it is not known."""

    def __init__(self, rate: float, fps: float) -> None:
        self.period = round(1_000_000 / (min(rate, fps) if fps else rate))
        self._every = bool(fps) and rate >= ALL * fps
        # A picture may come this early: jitter, but never a whole picture of the source.
        self._slack = min(self.period // 10, round(500_000 / fps) if fps else self.period)
        self._due = 0

    def take(self, offset: int) -> bool:
        """Whether the picture at `offset` microseconds is sent on; ask once for each, in order."""
        if self._every:
            return True
        if offset + self._slack < self._due:
            return False
        self._due = max(self._due + self.period, offset + self.period // 2)
        return True
