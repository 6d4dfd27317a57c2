"""What the engine tells whoever measures; `shared.metrics` implements it."""

from typing import Protocol


class BusMetrics(Protocol):
    """Counters and gauges of subscriptions. `group` and `topic` are low-cardinality labels."""

    def handled(self, group: str, topic: str, count: int, seconds: float) -> None:
        """A batch of `count` records had its effect in `seconds`."""
        ...

    def retried(self, group: str, topic: str, error: str) -> None:
        """A batch failed with an error of this class and will be tried again."""
        ...

    def parked(self, group: str, topic: str, error: str) -> None:
        """A record became a dead letter (or was passed over by a subscription that commits nothing)."""
        ...

    def skipped(self, group: str, topic: str, count: int) -> None:
        """So many records were dropped unread: by a slow `tail`, or by an ephemeral topic's ring."""
        ...

    def lag(self, group: str, topic: str, partition: int, records: int) -> None:
        """So many records of this partition are not finished yet."""
        ...


class Unmeasured:
    """Nobody measures."""

    def handled(self, group: str, topic: str, count: int, seconds: float) -> None:
        """Nothing."""

    def retried(self, group: str, topic: str, error: str) -> None:
        """Nothing."""

    def parked(self, group: str, topic: str, error: str) -> None:
        """Nothing."""

    def skipped(self, group: str, topic: str, count: int) -> None:
        """Nothing."""

    def lag(self, group: str, topic: str, partition: int, records: int) -> None:
        """Nothing."""
