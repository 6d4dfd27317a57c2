"""The limits of an engine."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class BusSettings:
    """Limits of an engine; times in seconds. `Subscription.options` overrides them by name."""

    poll: float = 1.0  # longest wait for records
    commit_every: float = 0.25  # shortest time between two commits
    watch_every: float = 1.0  # lag and readiness are looked at this often
    drain: float = 8.0  # for finishing a partition that another member waits for
    stuck: float = 60.0  # lag and no progress for so long is unhealthy
    hang: float = (
        45.0  # a handler that takes longer is cut off, and tried again as after an unknown error
    )
    retry_base: float = 0.1
    retry_cap: float = 15.0
    join_cap: float = (
        5.0  # between two tries to join while the log is away: it is missed at once when it is back
    )
    tries: float = 3  # of a record that fails with an unknown error
    trip_limit: float = 50  # dead letters among the last `trip_window` records
    trip_window: float = 500
