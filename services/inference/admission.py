"""Admission: what waits for one camera. Marks wait in order; of frames only the newest does. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamAlive

if TYPE_CHECKING:
    from schemas.event import Envelope

MOST = 64
"""Marks that wait; past that the oldest heartbeat goes, since a newer one says more."""


class Slot:
    """Room for one frame and the marks around it. `max_age`: microseconds since a frame left its reader."""

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age
        self._waiting: deque[Envelope] = deque()
        self._lost: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def offer(self, envelope: Envelope) -> None:
        """Let an event wait; a frame takes the place of the one that waits."""
        if isinstance(envelope.event, FrameCaptured):
            self._drop(_frame(self._waiting), "newer")
        elif len(self._waiting) >= MOST:
            self._drop(_heartbeat(self._waiting), "")
        self._waiting.append(envelope)

    def take(self, now: int) -> Envelope | None:
        """The next event in order; frames that are too old by now are dropped on the way."""
        while self._waiting:
            envelope = self._waiting.popleft()
            event = envelope.event
            if isinstance(event, FrameCaptured) and now - event.read_at > self._max_age:
                self._lost["late"] += 1
                continue
            return envelope
        return None

    def lost(self) -> Counter[str]:
        """Frames that were dropped since this was last asked, by reason: `newer` or `late`."""
        lost, self._lost = self._lost, Counter()
        return lost

    def _drop(self, envelope: Envelope | None, reason: str) -> None:
        if envelope is not None:
            self._waiting.remove(envelope)
            if reason:
                self._lost[reason] += 1


def _frame(waiting: deque[Envelope]) -> Envelope | None:
    return next((each for each in waiting if isinstance(each.event, FrameCaptured)), None)


def _heartbeat(waiting: deque[Envelope]) -> Envelope | None:
    return next((each for each in waiting if isinstance(each.event, StreamAlive)), None)
