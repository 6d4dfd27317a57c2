"""When a camera says what it answers, and how: on a change, and with the first mark of every second."""

from collections.abc import Callable

import msgspec

from schemas.events.predicates_observed import PredicatesObserved
from shared.rules.durations import SECOND
from shared.rules.evaluator import Evaluator

NEVER = -(1 << 62)
RETOLD = 2 * SECOND
"""Gaps are told again for so long: a statement may take the place of another one of the same moment."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the camera beside its answers. `said_at` is host time: no decision rests on it."""

    site: str
    camera: str
    camera_version: int
    epoch: int
    seq: int
    said_at: int
    model: str = ""
    tracker: str = ""
    simulated: bool = False


class Teller:
    """Says the answers of one camera; `said_at` is when it last did, the whole state."""

    def __init__(self, evaluator: Evaluator, said_at: int = NEVER) -> None:
        self._evaluator = evaluator
        self.said_at = said_at

    def frame(
        self, at: int, about: Callable[[], About], *, changed: bool
    ) -> PredicatesObserved | None:
        """After a frame; what changed in it is said even where a mark was ahead of it, or at the same time."""
        if changed:
            later = at if at >= self.said_at else self.said_at + 1
            return self._say(later, about, in_frame=True)
        return self._say(at, about, in_frame=True) if self._due(at) else None

    def mark(
        self, at: int, about: Callable[[], About], *, closed: bool = False
    ) -> PredicatesObserved | None:
        """After a heartbeat or another mark. `closed`: the stream ended, this is its last word."""
        if not closed:
            return self._say(at, about) if self._due(at) else None
        return self._say(max(at, self.said_at + 1), about, closed=True)

    def _due(self, at: int) -> bool:
        return at // SECOND > self.said_at // SECOND

    def _say(
        self, at: int, about: Callable[[], About], *, in_frame: bool = False, closed: bool = False
    ) -> PredicatesObserved | None:
        evaluator = self._evaluator
        if not evaluator.asked:
            return None
        facts, gaps = about(), evaluator.gaps(self.said_at - RETOLD)
        self.said_at = at
        return PredicatesObserved(
            site=facts.site,
            camera=facts.camera,
            camera_version=facts.camera_version,
            epoch=facts.epoch,
            seq=facts.seq,
            observed_at=at,
            said_at=facts.said_at,
            period=evaluator.period,
            gaps=gaps,
            closed=closed,
            model=facts.model,
            tracker=facts.tracker,
            simulated=facts.simulated,
            answers=evaluator.answers(at, in_frame=in_frame),
        )
