"""Lag, readiness and the watchdog of an engine: progress is what counts, not being alive."""

from collections.abc import Iterable

import msgspec

from shared.bus.lane import Lane
from shared.bus.port import Kind, Offsets, Partition
from shared.service import Health

GAP = 5.0  # seconds between two looks above which the log was away: nobody could have made progress meanwhile


class _Mark(msgspec.Struct):
    """How far a partition was and how often it was given up, since when, and when that was last looked at."""

    at: tuple[int, int]
    since: float
    looked: float


class Progress:
    """What was seen of each partition. `stuck`: seconds without progress under lag that are too many."""

    def __init__(self, kind: Kind, stuck: float) -> None:
        self.caught_up = False
        self._kind = kind
        self._limit = stuck
        self._goal: Offsets | None = None
        self._marks: dict[Partition, _Mark] = {}
        self._outside: float | None = None

    def look(self, lane: Lane, end: int, now: float) -> None:
        """Note a lane's lag, and whether what it has committed (or finished, or given up) moved since the last look."""
        lane.lag = max(0, end - max(lane.done, 0))
        at = (lane.committed if self._kind == "group" else lane.done, lane.cuts)
        mark = self._marks.setdefault(lane.partition, _Mark(at, now, now))
        if now - mark.looked > GAP:
            mark.since += now - mark.looked
        if lane.lag == 0 or at != mark.at:
            mark.since = now
        mark.at, mark.looked = at, now

    def member(self, joined: bool, now: float) -> None:
        """Whether the group has given us a share; one that joins for ever has no lanes that could lag."""
        if joined:
            self._outside = None
        elif self._outside is None:
            self._outside = now

    def forget(self, partition: Partition) -> None:
        """It is another's now."""
        self._marks.pop(partition, None)

    def health(self, lanes: Iterable[Lane], now: float, tripped: str) -> Health:
        """What the engine's check says; `tripped` is why it stopped, or empty."""
        lag = {_name(lane.partition): lane.lag for lane in lanes if lane.lag}
        stuck = self.stuck(now)
        if tripped:
            return Health(status="unhealthy", reason=tripped, details={"lag": lag, "tripped": True})
        if self._outside is not None and now - self._outside > self._limit:
            reason = f"not in its group for {self._limit:g} s"
            return Health(
                status="unhealthy", reason=reason, details={"lag": lag, "stuck": ["group"]}
            )
        if stuck:
            reason = f"no progress for {self._limit:g} s on {', '.join(map(_name, stuck))}"
            details = {"lag": lag, "stuck": [_name(partition) for partition in stuck]}
            return Health(status="unhealthy", reason=reason, details=details)
        if not self.caught_up:
            reason = "still joining or reading its table"
            return Health(status="degraded", reason=reason, details={"lag": lag})
        return Health(status="healthy", details={"lag": lag})

    def stuck(self, now: float) -> list[Partition]:
        """Partitions with lag and no progress for too long, or of which the log says nothing for so long."""
        quiet = {p: max(m.looked - m.since, now - m.looked) for p, m in self._marks.items()}
        return sorted(partition for partition, time in quiet.items() if time > self._limit)

    def reach(
        self,
        ends: Offsets,
        positions: Offsets,
        lanes: Iterable[Lane],
    ) -> None:
        """The log answered. A table has caught up once all that was there at the first look is handled."""
        if self._goal is None:
            self._goal = ends if self._kind == "table" else {}
        read = all(positions.get(partition, 0) >= end for partition, end in self._goal.items())
        handled = self._kind != "table" or all(lane.idle for lane in lanes)
        self.caught_up = self.caught_up or (read and handled)


def _name(partition: Partition) -> str:
    return f"{partition.topic}/{partition.number}"
