"""A stage over events in a row, which goes back and on where it meets one that it cannot digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import Poison

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.event import Envelope
    from services.orchestrator.handlers import Stage
    from services.orchestrator.stage import Effects

KEEP = (
    500  # events after which a stage's state is kept, to go back to from one that it cannot digest
)


class PartitionStage:
    """A partition's stage. As the engine does, it goes back and on without an event that cannot be digested."""

    def __init__(self, make: Callable[[], Stage]) -> None:
        self._make = make
        self._stage = make()
        self._kept = self._stage.dump()
        self._since: list[tuple[Envelope, int]] = []

    def handle(self, envelope: Envelope, *, now: int) -> Effects | None:
        """What follows from the next event, None where it cannot be digested; `now` as the stage takes it."""
        try:
            effects = self._stage.handle(envelope, now=now)
        except Poison:
            self._stage = self._make()
            self._stage.load(self._kept)
            for one, then in self._since:
                self._stage.handle(one, now=then)
            return None
        self._since.append((envelope, now))
        if len(self._since) >= KEEP:
            self._kept, self._since = self._stage.dump(), []
        return effects
