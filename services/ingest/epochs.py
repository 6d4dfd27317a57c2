"""One epoch of a camera's stream: gives pictures their event times, says them, counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.ingest.domain import Times

if TYPE_CHECKING:
    from services.ingest.announcer import Announcer
    from services.ingest.hosts import Picture, Session
    from services.ingest.store import Stream
    from services.ingest.wire import Opened, Passed
    from shared.metrics import Metrics


class Epoch:
    """An epoch that is open. `row` was stored, and its `number` given, before this came to be."""

    def __init__(self, row: Stream, number: int, opened: Opened, session: Session) -> None:
        self.number = number
        self.lease = row.lease
        self.opened = opened
        self.position = opened.position
        self.sent = 0
        self._times = Times(row.opened_at)
        self._missed = self._at_reader = 0
        self._session = session
        self._dropped_before = session.dropped
        self._read = self._read_before = 0

    @property
    def opened_at(self) -> int:
        """Event time at which it opened."""
        return self._times.opened_at

    @property
    def last_at(self) -> int:
        """Event time of the newest thing known of it."""
        return max(self._times.last, self._times.opened_at)

    async def show(self, picture: Picture, says: Announcer, metrics: Metrics) -> None:
        """Say a picture, after the heartbeats due before it."""
        shown = picture.shown
        at = self._times.capture(shown.offset)
        self.sent += 1
        beats = tuple(self._times.beats(at))
        said = await says.frame(self, at, picture, beats)
        metrics.frames_captured.labels(says.camera).inc()
        metrics.camera_ages.touch(says.camera, at)
        if not said:
            self._missed += 1
            metrics.frames_dropped.labels(says.camera, "log").inc()
        lost, self._at_reader = shown.dropped - self._at_reader, shown.dropped
        metrics.frames_dropped.labels(says.camera, "reader").inc(max(0, lost))
        self.position, self._read = shown.position, shown.read

    async def stand(self, passed: Passed, says: Announcer) -> None:
        """Nothing was due to be sent on, but the stream stands: say the heartbeats due."""
        self.position, self._read = passed.position, passed.read
        beats = tuple(self._times.beats(self.opened_at + passed.offset))
        await says.alive(self.number, self.lease, beats)

    @property
    def dropped(self) -> int:
        """Pictures that were due and never became frames."""
        return self._missed + self._at_reader + self._session.dropped - self._dropped_before

    def rate(self, seconds: float) -> float:
        """Pictures a second read since the last time this was asked, `seconds` ago."""
        rate, self._read_before = (self._read - self._read_before) / seconds, self._read
        return round(max(0.0, rate), 2)
