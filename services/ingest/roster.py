"""Who is live, judged without comparing the clocks of two hosts: what changes before our eyes is.

A row that its owner renews counts as live until it stood still for `ttl` seconds of *our* watching (as the leader
election of Kubernetes has it). Clocks of hosts may differ by any amount; they must only run at about the same speed.
Seconds in which we did not look do not count: who was stopped, or cut off from the database, takes nobody for dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.ingest.domain import Member

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

CALM = 3.0
"""Times the ttl for which a member that renewed late must keep time before it gets cameras again."""
LONGEST_CALM_S = 300.0
GONE = 30.0
"""Times the ttl after which the row of a member that never came back is removed."""


class Row(NamedTuple):
    """A member as it stands in the database. `life`: of one start of its process; `beat` grows while it lives."""

    name: str
    life: str
    beat: int
    room: int | None


class Attention:
    """Seconds in which we watched. A longer time between two looks counts as `step` seconds."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._last: float | None = None
        self.now = 0.0

    def look(self, at: float) -> float:
        """We look now, at this reading of a clock that only grows; how long we have watched."""
        if self._last is not None:
            self.now += min(self._step, max(0.0, at - self._last))
        self._last = at
        return self.now


class Sightings:
    """Since when things look as they do, by name. Times are those of an `Attention`."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def see(self, found: Mapping[str, Hashable], at: float) -> None:
        """What is there now; what is not is forgotten."""
        self._seen = {name: (value, self._since(name, value, at)) for name, value in found.items()}

    def still(self, name: str, at: float) -> float:
        """For how many seconds it has not changed; 0 for what is not there."""
        return at - self._seen[name][1] if name in self._seen else 0.0

    def _since(self, name: str, value: Hashable, at: float) -> float:
        before = self._seen.get(name)
        return before[1] if before is not None and before[0] == value else at


class Roster:
    """The members that share the cameras, as one of them sees it.

    A process that was started again is trusted at once. One that only renewed late is not: until it has kept time for
    a while, twice as long after each lapse, its cameras stay where they are.
    """

    def __init__(self, me: str, ttl: float) -> None:
        self._me = me
        self._ttl = ttl
        self._sightings = Sightings()
        self._rows: Mapping[str, Row] = {}
        self._lapsed: set[str] = set()
        self._lapses: dict[str, int] = {}
        self._shunned: dict[str, float] = {}

    def see(self, rows: Sequence[Row], at: float) -> None:
        """The members' rows as they stand now."""
        before, self._rows = self._rows, {row.name: row for row in rows}
        for row in rows:
            known = before.get(row.name)
            if known is not None and known != row:
                self._moved(known, row, at)
        self._sightings.see(self._rows, at)
        late = {name for name in self._rows if self._sightings.still(name, at) > self._ttl}
        self._lapsed = {name for name in self._lapsed | late if name in self._rows}

    def live(self, at: float) -> tuple[Member, ...]:
        """Who gets cameras; we are always one of them."""
        return tuple(
            Member(row.name, row.room)
            for name, row in sorted(self._rows.items())
            if name == self._me or (name not in self._lapsed and at >= self._shunned.get(name, at))
        )

    def still(self, name: str, at: float) -> float:
        """For how many seconds a member has not renewed."""
        return self._sightings.still(name, at)

    def gone(self, at: float) -> list[Row]:
        """Members whose rows stood still for so long that they may be removed."""
        limit = GONE * self._ttl
        return [row for name, row in self._rows.items() if self._sightings.still(name, at) > limit]

    def _moved(self, before: Row, row: Row, at: float) -> None:
        name = row.name
        if before.life != row.life:
            self._lapses.pop(name, None)
            self._shunned.pop(name, None)
        elif name in self._lapsed:
            lapses = self._lapses[name] = self._lapses.get(name, 0) + 1
            self._shunned[name] = at + min(LONGEST_CALM_S, CALM * self._ttl * 2 ** (lapses - 1))
        self._lapsed.discard(name)
