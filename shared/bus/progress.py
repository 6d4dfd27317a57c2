"""Lag, readiness and the watchdog of an engine: progress is what counts, not being alive."""

from collections.abc import Iterable

from shared.bus.lane import Lane
from shared.bus.port import Kind, Offsets, Partition
from shared.service import Health


class Progress:
    """What was seen of each partition. `stuck`: seconds without progress under lag that are too many."""

    def __init__(self, kind: Kind, stuck: float) -> None:
        self.caught_up = False
        self._kind = kind
        self._limit = stuck
        self._goal: Offsets | None = None
        self._marks: dict[Partition, tuple[int, float]] = {}
        self._outside: float | None = None

    def look(self, lane: Lane, end: int, now: float) -> None:
        """Note a lane's lag, and whether what it has committed (or just finished) moved since the last look."""
        lane.lag = max(0, end - max(lane.done, 0))
        mark = lane.committed if self._kind == "group" else lane.done
        before, since = self._marks.get(lane.partition, (mark, now))
        moving = lane.lag == 0 or mark != before
        self._marks[lane.partition] = (mark, now if moving else since)

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
            return Health(status="unhealthy", reason=tripped, details={"lag": lag})
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
        """Partitions with lag and no progress for too long."""
        return sorted(p for p, (_, moved) in self._marks.items() if now - moved > self._limit)

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
