"""Lag, readiness and the watchdog of an engine: progress is what counts, not being alive."""

from collections.abc import Iterable, Mapping

from shared.bus.lane import Lane
from shared.bus.port import Kind, Partition


class Progress:
    """What was seen of each partition. `stuck`: seconds without progress under lag that are too many."""

    def __init__(self, kind: Kind, stuck: float) -> None:
        self.caught_up = kind != "table"
        self._kind = kind
        self._stuck = stuck
        self._goal: Mapping[Partition, int] | None = None
        self._marks: dict[Partition, tuple[int, float]] = {}

    def look(self, lane: Lane, end: int, now: float) -> None:
        """Note a lane's lag, and whether what it has committed (or just finished) moved since the last look."""
        lane.lag = max(0, end - max(lane.done, 0))
        mark = lane.committed if self._kind == "group" else lane.done
        before, since = self._marks.get(lane.partition, (mark, now))
        moving = lane.lag == 0 or mark != before
        self._marks[lane.partition] = (mark, now if moving else since)

    def forget(self, partition: Partition) -> None:
        """It is another's now."""
        self._marks.pop(partition, None)

    def stuck(self, now: float) -> list[Partition]:
        """Partitions with lag and no progress for too long."""
        return sorted(p for p, (_, since) in self._marks.items() if now - since > self._stuck)

    def reach(
        self,
        ends: Mapping[Partition, int],
        positions: Mapping[Partition, int],
        lanes: Iterable[Lane],
    ) -> None:
        """A table has caught up once all that was there at the first look is handled."""
        if self._goal is None:
            self._goal = ends
        read = all(positions.get(partition, 0) >= end for partition, end in self._goal.items())
        self.caught_up = self.caught_up or (read and all(lane.idle for lane in lanes))
