"""A track's stay in an area, with hysteresis in seconds."""

from shared.rules.durations import SECOND

ENTER = 400_000
"""Microseconds inside after which a track has entered."""
LEAVE = SECOND
"""Microseconds outside after which it has left."""
GAP = 2 * SECOND
"""Microseconds unseen that a state survives; looked-at time alone counts."""
NEVER = 1 << 62


class Stay:
    """From the first sample inside to the confirmed leaving.

    `since`: first sample inside. `until`: last sample inside. `left`: first sample outside of a leaving that is
    not confirmed yet, or -1. `inside`: entering is confirmed. `due`: event time at which something changes next.
    `step`: how many dwell thresholds were reached.
    """

    __slots__ = ("due", "inside", "left", "since", "step", "until")

    def __init__(self, since: int) -> None:
        self.since = since
        self.until = since
        self.left = -1
        self.inside = False
        self.due = since + ENTER
        self.step = 0
