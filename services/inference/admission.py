"""Admission: what waits for one camera. Marks wait in order; of frames the newest does under load. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamAlive

if TYPE_CHECKING:
    from schemas.event import Envelope

MOST = 64
"""Marks, and frames, that wait; past that the oldest heartbeat goes, since a newer one says more."""
BURST = 1_500_000
"""Microseconds of frames that may wait, at most `MOST` of them: a hiccup of the machine costs none."""
CALM = 10_000_000
"""Microseconds without a loss, after which frames may wait again; before that only the newest does."""


class Slot:
    """Room for the newest frame and the marks around it, and for a short burst of frames.

    `max_age`: microseconds since a frame left its reader, after which it is dropped. Under lasting load each frame
    takes the place of the one that waits, so that what is looked at is new and evenly spread.
    """

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age
        self._waiting: deque[Envelope] = deque()
        self._lost: Counter[str] = Counter()
        self._lost_at: int | None = None

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    def offer(self, envelope: Envelope) -> None:
        """Let an event wait; under load a frame takes the place of those that wait."""
        if isinstance(envelope.event, FrameCaptured):
            self._make_room(envelope.event.read_at)
        elif len(self._waiting) >= MOST:
            self._forget_heartbeat()
        self._waiting.append(envelope)

    def take(self, now: int) -> Envelope | None:
        """The next event in order; frames that are too old by now are dropped on the way."""
        while self._waiting:
            envelope = self._waiting.popleft()
            event = envelope.event
            if isinstance(event, FrameCaptured) and now - event.read_at > self._max_age:
                self._lose("late", event.read_at)
                continue
            return envelope
        return None

    def lost(self) -> Counter[str]:
        """Frames that were dropped since this was last asked, by reason: `newer` or `late`."""
        lost, self._lost = self._lost, Counter()
        return lost

    def _make_room(self, at: int) -> None:
        frames = [
            (envelope, envelope.event.read_at)
            for envelope in self._waiting
            if isinstance(envelope.event, FrameCaptured)
        ]
        calm = self._lost_at is None or at - self._lost_at >= CALM
        if not frames or (calm and len(frames) < MOST and at - frames[0][1] < BURST):
            return
        for envelope, _ in frames:
            self._waiting.remove(envelope)
            self._lose("newer", at)

    def _lose(self, reason: str, at: int) -> None:
        self._lost[reason] += 1
        self._lost_at = at

    def _forget_heartbeat(self) -> None:
        oldest = next((each for each in self._waiting if isinstance(each.event, StreamAlive)), None)
        if oldest is not None:
            self._waiting.remove(oldest)
