"""An online multi-object tracker: detections of one camera in, final rows with stable ids out.

Of the ByteTrack and OC-SORT family: Kalman-filtered boxes, sure detections before doubtful ones
(Zhang et al., "ByteTrack", ECCV 2022), a last look with buffered boxes for those who are still
without a partner (Yang et al., "C-BIoU", WACV 2023). Rows of a frame are final before the next
frame is read. Durations are in seconds, never in frames, and a track is confirmed by sightings in
a row, so that people keep their ids at 5, 10 and 25 frames a second alike. The output is a function of the input alone, bit for bit, and does not depend
on the order of the detections within a frame.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import lap
import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.vision import boxes as geometry
from shared.vision.boxes import FloatArray
from shared.vision.motion import Motion, MotionModel

Box: TypeAlias = tuple[float, float, float, float]
Mask: TypeAlias = NDArray[np.bool_]

NEVER = -1
"""The epoch before the first is opened."""


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds of the tracker; overlaps are IoU of believed and detected box, 0 to 1."""

    sure: float = 0.6
    """Score from which a detection may begin a track; a lower one only continues one."""
    confirm: float = 2.4
    """A track is confirmed once the scores of its sightings add up to this."""
    gap: float = 2.0
    """Seconds that a confirmed track lives on unseen while its place is looked at."""
    least_overlap: float = 0.3
    """For a sure detection, weighed by its score."""
    least_doubtful_overlap: float = 0.5
    """For a doubtful detection."""
    buffer: float = 0.3
    """Share by which boxes grow on every side for the last look."""
    least_buffered_overlap: float = 0.2
    """For the last look: confirmed tracks and sure detections without a partner."""
    score_weight: float = 1.0
    """How much a detection's score weighs when tracks compete for it, 0 (not at all) to 1."""
    shown: float = 0.5
    """Share of its box that must have been looked at for a track to count as missed."""
    motion: MotionModel = MotionModel()


LIVE = TrackerSettings()
"""The settings that a live camera is tracked with."""


class Coverage(msgspec.Struct, frozen=True):
    """How much of a frame was looked at; `regions` are left, top, width, height in pixels."""

    look: Literal["full", "regions", "none"] = "full"
    regions: tuple[Box, ...] = ()


FULL = Coverage()


class Tracked(msgspec.Struct, frozen=True):
    """A confirmed track at one moment. (epoch, number) names it within its camera for ever."""

    epoch: int
    number: int
    label: str
    box: Box
    """Left, top, width, height in pixels: the filtered box, which may reach over the frame."""
    score: float
    """Of its last detection."""
    born_at: int
    """Event time of its first detection, in microseconds."""
    seen_at: int
    """Event time of its last detection, in microseconds."""


class Tracker:
    """The tracks of one camera.

    Call `open` when a stream epoch begins, then `update` for each of its frames in order.
    Nothing here reads a clock, draws a random number or is safe to share between threads.
    """

    def __init__(self, settings: TrackerSettings = LIVE) -> None:
        self._settings = settings
        self._gap = round(settings.gap * 1_000_000)
        self._state = _State()
        self._motion = Motion(settings.motion)

    def open(self, *, epoch: int, at: int, size: tuple[int, int]) -> None:
        """Begin a stream epoch at event time `at` with frames of `size` (width, height) pixels.

        Tracks live on when the pause is within their gap and the size is unchanged; else they
        end. Opening the current epoch once more is only such a pause.

        Raises:
            ValueError: the epoch is older than the current one, or the size is not positive.
        """
        state = self._state
        if epoch < state.epoch:
            raise ValueError(f"epoch {epoch} is over: epoch {state.epoch} was opened after it")
        if min(size) <= 0:
            raise ValueError(f"frame size {size[0]}x{size[1]} is not positive; give it in pixels")
        if size != state.size or at < state.at:
            self._keep(lambda _: False)
        else:
            self._advance(at, FULL)
            self._end_lost()
        if epoch > state.epoch:
            state.epoch, state.count = epoch, 0
        state.at, state.size, state.idle = at, size, True

    def update(
        self,
        at: int,
        boxes: FloatArray,
        scores: FloatArray,
        labels: Sequence[str],
        coverage: Coverage = FULL,
    ) -> list[Tracked]:
        """Take in the detections of one frame; return the confirmed tracks seen in it, by id.

        Args:
            at: event time of the frame in microseconds, later than that of the frame before.
            boxes: [N, 4], left, top, right, bottom in pixels.
            scores: [N], 0 to 1.
            labels: N classes; a track keeps its class.
            coverage: what was looked at. A track outside of it is held: its gap stands still.

        Raises:
            ValueError: no epoch is open, time does not advance, or a detection is malformed.
                The tracker is then unchanged.
        """
        self._require_order(at)
        seen = _detections(boxes, scores, labels)
        self._advance(at, coverage)
        self._end_lost()
        pairs = self._associate(seen)
        self._sight(at, pairs, seen)
        self._coast(at)
        self._end_unconfirmed()
        self._begin(at, pairs, seen)
        self._state.at, self._state.idle = at, False
        return self._rows(seen_now=True)

    def held(self) -> list[Tracked]:
        """Confirmed tracks that live on but were not seen in the last frame, by id."""
        return self._rows(seen_now=False)

    def dump(self) -> bytes:
        """The whole state; `load` of it goes on bit for bit as this tracker would."""
        beliefs, cruise = self._motion.beliefs.tobytes(), self._motion.cruise.tobytes()
        return msgspec.msgpack.encode(_Checkpoint(self._state, beliefs, cruise))

    def load(self, checkpoint: bytes) -> None:
        """Take over the state of another tracker with the same settings.

        Raises:
            ValueError: the bytes are no checkpoint of this version of the tracker.
        """
        try:
            taken = msgspec.msgpack.decode(checkpoint, type=_Checkpoint)
            beliefs = np.frombuffer(taken.beliefs).reshape(-1, 5, 4)
            cruise = np.frombuffer(taken.cruise).reshape(-1, 3)
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"not a checkpoint of this tracker: {error}") from error
        if not len(beliefs) == len(cruise) == len(taken.state.tracks):
            raise ValueError("not a checkpoint of this tracker: its parts disagree")
        self._state = taken.state
        self._motion.beliefs, self._motion.cruise = beliefs.copy(), cruise.copy()

    def _require_order(self, at: int) -> None:
        state = self._state
        if state.epoch == NEVER:
            raise ValueError("no stream epoch is open; call open() before update()")
        if at < state.at or (at == state.at and not state.idle):
            raise ValueError(f"the frame at {at} does not come after the one at {state.at}")

    def _advance(self, at: int, coverage: Coverage) -> None:
        """Let the time pass: gaps grow and boxes move on, but only where somebody looked.

        What nobody looked at had no motion, so a held track rests where it was.
        """
        elapsed = at - self._state.at
        if not self._state.tracks or elapsed == 0:
            return
        before = self._motion.beliefs[:, 0].copy()
        self._motion.predict(self._seconds_to(at))
        looked = self._looked_at(coverage)
        self._motion.rest(~looked, before)
        for track, missed in zip(self._state.tracks, looked.tolist(), strict=True):
            track.missed += elapsed if missed else 0

    def _seconds_to(self, at: int) -> float:
        return (at - self._state.at) / 1_000_000

    def _looked_at(self, coverage: Coverage) -> Mask:
        boxes = self._motion.boxes()
        if coverage.look != "regions":
            return np.full(len(boxes), coverage.look == "full")
        regions = np.array(coverage.regions, dtype=np.float64).reshape(-1, 4)
        shown = geometry.covered(boxes, geometry.to_ltrb(regions))
        return shown >= self._settings.shown

    def _associate(self, seen: "_Detections") -> list[tuple[int, int]]:
        """Pairs (track, detection): sure ones, doubtful ones, then a last look with buffers."""
        settings, tracks = self._settings, self._state.tracks
        if not tracks or not seen.labels:
            return []
        believed = self._motion.boxes()
        labels = np.array([track.label for track in tracks])
        allowed = np.equal.outer(labels, np.array(seen.labels))
        overlap = np.where(allowed, geometry.iou(believed, seen.boxes), -1.0)
        weighed = overlap * (1.0 - settings.score_weight * (1.0 - seen.scores))
        sure = seen.scores >= settings.sure
        match = _Matching(len(tracks), len(seen.labels))
        match.take(weighed, settings.least_overlap, columns=sure)
        match.take(overlap, settings.least_doubtful_overlap, columns=~sure)
        confirmed = np.array([track.number > 0 for track in tracks])
        if match.open(confirmed, sure):
            buffered = geometry.buffered_iou(believed, seen.boxes, settings.buffer)
            buffered = np.where(allowed, buffered, -1.0)
            match.take(buffered, settings.least_buffered_overlap, rows=confirmed, columns=sure)
        return sorted(match.pairs)

    def _sight(self, at: int, pairs: list[tuple[int, int]], seen: "_Detections") -> None:
        if not pairs:
            return
        rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
        self._motion.correct(rows, seen.boxes[columns], self._seconds_to(at))
        for row, column in pairs:
            track = self._state.tracks[row]
            track.seen_at, track.missed = at, 0
            track.score = float(seen.scores[column])
            track.evidence += track.score
            if track.number == 0 and track.evidence >= self._settings.confirm:
                self._state.count += 1
                track.epoch, track.number = self._state.epoch, self._state.count

    def _coast(self, at: int) -> None:
        """Let tracks that are missed for the first time go on at their average velocity."""
        tracks, before = self._state.tracks, self._state.at
        rows = [
            row
            for row, track in enumerate(tracks)
            if track.number and track.missed and track.seen_at == before
        ]
        if rows:
            self._motion.coast(rows, self._seconds_to(at))

    def _begin(self, at: int, pairs: list[tuple[int, int]], seen: "_Detections") -> None:
        taken = {column for _, column in pairs}
        fresh = [
            column
            for column in range(len(seen.labels))
            if column not in taken and seen.scores[column] >= self._settings.sure
        ]
        if fresh:
            self._motion.add(seen.boxes[fresh])
        for column in fresh:
            score = float(seen.scores[column])
            self._state.tracks.append(
                _Track(seen.labels[column], born_at=at, seen_at=at, score=score, evidence=score)
            )

    def _end_lost(self) -> None:
        """End the tracks whose gap is over, before they can be seen again."""
        self._keep(lambda track: track.missed <= self._gap)

    def _end_unconfirmed(self) -> None:
        """End the tracks that were missed before they were confirmed."""
        self._keep(lambda track: track.number > 0 or track.missed == 0)

    def _keep(self, wanted: Callable[["_Track"], bool]) -> None:
        tracks = self._state.tracks
        rows = [row for row, track in enumerate(tracks) if wanted(track)]
        if len(rows) < len(tracks):
            self._state.tracks = [tracks[row] for row in rows]
            self._motion.keep(rows)

    def _rows(self, *, seen_now: bool) -> list[Tracked]:
        state = self._state
        extents = geometry.to_ltwh(self._motion.boxes()).tolist()
        rows = [
            track.tracked(tuple(extent))
            for track, extent in zip(state.tracks, extents, strict=True)
            if track.number and (track.seen_at == state.at) is seen_now
        ]
        return sorted(rows, key=lambda row: (row.epoch, row.number))


class _Track(msgspec.Struct):
    """What is known of one track beside its motion; number 0 until it is confirmed."""

    label: str
    born_at: int
    seen_at: int
    score: float
    evidence: float
    missed: int = 0
    epoch: int = 0
    number: int = 0

    def tracked(self, box: Box) -> Tracked:
        return Tracked(
            epoch=self.epoch,
            number=self.number,
            label=self.label,
            box=box,
            score=self.score,
            born_at=self.born_at,
            seen_at=self.seen_at,
        )


class _State(msgspec.Struct, kw_only=True):
    """Everything but the motion; `idle` until the first frame after an opening."""

    epoch: int = NEVER
    count: int = 0
    at: int = 0
    size: tuple[int, int] = (0, 0)
    idle: bool = True
    tracks: list[_Track] = []


class _Checkpoint(msgspec.Struct, tag="vantage.tracker.v1"):
    """The state and the two arrays of `Motion`, float64."""

    state: _State
    beliefs: bytes
    cruise: bytes


class _Detections(msgspec.Struct, frozen=True):
    """Detections of one frame in an order that does not depend on how they came."""

    boxes: FloatArray
    scores: FloatArray
    labels: list[str]


class _Matching:
    """Pairs of rows and columns, taken in stages from those that are still free."""

    def __init__(self, rows: int, columns: int) -> None:
        self.pairs: list[tuple[int, int]] = []
        self._rows = np.ones(rows, dtype=bool)
        self._columns = np.ones(columns, dtype=bool)

    def open(self, rows: Mask, columns: Mask) -> bool:
        """Say whether a free row and a free column are among these."""
        return bool((self._rows & rows).any() and (self._columns & columns).any())

    def take(
        self, likeness: FloatArray, least: float, *, columns: Mask, rows: Mask | None = None
    ) -> None:
        """Take the best pairs of at least this likeness among free rows and columns."""
        free_rows = np.flatnonzero(self._rows if rows is None else self._rows & rows)
        free_columns = np.flatnonzero(self._columns & columns)
        if not len(free_rows) or not len(free_columns):
            return
        cost = 1.0 - likeness[np.ix_(free_rows, free_columns)]
        _, partners, _ = lap.lapjv(cost, extend_cost=True, cost_limit=1.0 - least)
        for row, partner in zip(free_rows.tolist(), partners.tolist(), strict=True):
            if partner >= 0:
                column = int(free_columns[partner])
                self.pairs.append((row, column))
                self._rows[row] = self._columns[column] = False


def _detections(boxes: FloatArray, scores: FloatArray, labels: Sequence[str]) -> _Detections:
    count = len(labels)
    if boxes.shape != (count, 4) or scores.shape != (count,):
        raise ValueError(
            f"{count} labels need boxes of shape ({count}, 4) and scores of shape ({count},), "
            f"got {boxes.shape} and {scores.shape}"
        )
    for row in np.flatnonzero(~_well_formed(boxes, scores)).tolist():
        raise ValueError(
            f"detection {row} is malformed: box {boxes[row].tolist()} (left, top, right, bottom), "
            f"score {scores[row]}; give finite numbers, left < right, top < bottom, score 0 to 1"
        )
    ranks = {label: rank for rank, label in enumerate(sorted(set(labels)))}
    keys = (*boxes.T[::-1], [ranks[label] for label in labels], -scores)
    order = np.lexsort(keys).tolist() if count else []
    return _Detections(boxes[order], scores[order], [labels[row] for row in order])


def _well_formed(boxes: FloatArray, scores: FloatArray) -> Mask:
    finite = np.isfinite(boxes).all(axis=1)
    extended = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    return finite & extended & (scores >= 0.0) & (scores <= 1.0)
