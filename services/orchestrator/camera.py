"""One camera in the stage: fencing, tracker, rules, and the second that is being gathered. Pure."""

import hashlib
from collections import deque
from functools import partial
from typing import TypeAlias

import msgspec
import numpy as np

from schemas.event import Event
from schemas.events.detections_made import DetectionsMade
from schemas.events.predicates_observed import PredicatesObserved
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted, StreamOpened
from schemas.events.tracks_observed import TrackPath, TrackPoint, TracksObserved
from schemas.events.tracks_seen import SeenTrack, TracksSeen
from services.orchestrator.domain import Facts, decide
from services.orchestrator.knowledge import Knowledge
from shared.ids import derived
from shared.rules.across.teller import NEVER, About, Teller
from shared.rules.evaluator import Evaluator
from shared.rules.values import CoverageGap, Look, Match, NearMiss, Sighting
from shared.vision import boxes as geometry
from shared.vision.tracker import Coverage, Tracked, Tracker, TrackerSettings

SECOND = 1_000_000
HEARD = 64

Said: TypeAlias = tuple[str, Event]
Named: TypeAlias = list[tuple[str, Tracked]]
Mark: TypeAlias = StreamOpened | StreamAlive | StreamInterrupted | StreamClosed


class Gathered(msgspec.Struct):
    """The tracks of the second that is not over yet, by track id."""

    second_at: int = -1
    epoch: int = 0
    width: int = 0
    height: int = 0
    model: str = ""
    simulated: bool = False
    paths: dict[str, tuple[str, int, list[TrackPoint]]] = {}


class KeptCamera(msgspec.Struct, kw_only=True):
    """A camera between two events."""

    lease: int
    last: tuple[int, int]
    heard: list[str]
    at: int
    opened: tuple[int, tuple[int, int]]
    model: str
    gathered: Gathered
    tracker: bytes
    evaluator: bytes
    said_at: int = NEVER
    simulated: bool = False


class Seen(msgspec.Struct):
    """What one frame brought: what is said at once, and the matches."""

    fast: list[Said]
    matches: list[Match]
    gaps: list[CoverageGap]
    near_misses: list[NearMiss]


class Camera:
    """Events of one camera in order; knows what was there before and who holds its lease."""

    def __init__(self, name: str, knowledge: Knowledge, settings: TrackerSettings) -> None:
        self._name = name
        self._knowledge = knowledge
        self._tracker = Tracker(settings)
        self._version = tracker_version(settings)
        self._evaluator = Evaluator(name, knowledge.timeline(name))
        self._teller = Teller(self._evaluator)
        self._lease = -1
        self._last = (-1, -1)
        self._at = -(1 << 62)
        self._opened = (-1, (0, 0))
        self._heard: deque[str] = deque(maxlen=HEARD)
        self._model = ""
        self._simulated = False
        self._gathered = Gathered()
        self.alive = 0

    def admits(self, event: DetectionsMade) -> bool:
        """Whether a frame is the lease holder's, was not there before, and is later than the last one."""
        if event.lease < self._lease or event.epoch < self._opened[0]:
            return False
        if (event.epoch, event.seq) <= self._last or event.captured_at <= self._at:
            return False
        self._lease, self._last, self._at = event.lease, (event.epoch, event.seq), event.captured_at
        return True

    def hears(self, id: str, mark: Mark) -> bool:
        """Whether a mark is the lease holder's and was not heard before."""
        if mark.lease < self._lease or id in self._heard:
            return False
        self._lease = mark.lease
        self._heard.append(id)
        return True

    def mark(self, mark: Mark, *, now: int) -> list[Said]:
        """Take a mark in: the evaluator's clock goes on, and a second may be over. `now` is host time."""
        if isinstance(mark, StreamOpened):
            if mark.epoch >= self._opened[0]:
                self._open(mark.epoch, max(mark.opened_at, self._at), (mark.width, mark.height))
            self._evaluator.mark(mark.opened_at)
        elif isinstance(mark, StreamInterrupted):
            self._evaluator.interrupted(mark.since, mark.until)
        else:
            self._evaluator.mark(mark.at)
        ends = (
            not isinstance(mark, StreamAlive)
            or mark.at // SECOND * SECOND > self._gathered.second_at
        )
        said = self._flush() if ends else []
        if self._evaluator.asked and not isinstance(mark, StreamInterrupted):
            closed = isinstance(mark, StreamClosed)
            about = partial(self._about, mark.at, now)
            said += self._answer(self._teller.mark(mark.at, about, closed=closed))
        return said

    def look(self, event: DetectionsMade, *, now: int) -> Seen:
        """Track and evaluate a frame; `now` is host time and decides nothing here.

        Raises:
            ValueError: a detection is malformed.
        """
        size = (event.width, event.height)
        if (event.epoch, size) != self._opened:
            self._open(event.epoch, event.captured_at, size)
        self._model, self._simulated = event.model or self._model, event.simulated
        tracked = [(track_id(self._name, one), one) for one in self._track(event)]
        held = [(track_id(self._name, one), one) for one in self._tracker.held()]
        self.alive = len(tracked) + len(held)
        step = self._evaluator.update(
            Look(
                at=event.captured_at,
                size=size,
                seen=tuple(
                    Sighting(name, one.label, one.box, one.born_at) for name, one in tracked
                ),
                held=frozenset(name for name, _ in held),
                period=event.period,
            )
        )
        fast = self._gather(event, tracked)
        if event.coverage != "none":
            fast.append(self._overlay(event, tracked, held))
        if self._evaluator.asked:
            at, about = event.captured_at, partial(self._about, event.captured_at, now)
            fast += self._answer(self._teller.frame(at, about, changed=step.answers))
        return Seen(fast, step.matches, step.gaps, step.near_misses)

    def decide(
        self, match: Match, event: DetectionsMade, place: tuple[str, int, int], now: int
    ) -> list[Said]:
        """What is said about a match that this frame completed."""
        camera = self._knowledge.camera(self._name, event.captured_at)
        topic, partition, offset = place
        facts = Facts(
            epoch=event.epoch,
            seq=event.seq,
            camera_name=camera.name if camera is not None else self._name,
            site=camera.site if camera is not None else "",
            time_zone=camera.time_zone if camera is not None else "UTC",
            model=self._model,
            tracker=self._version,
            simulated=event.simulated,
            topic=topic,
            partition=partition,
            offset=offset,
        )
        return decide(match, facts, raised_at=now)

    def dump(self) -> KeptCamera:
        """The whole state."""
        return KeptCamera(
            lease=self._lease,
            last=self._last,
            heard=list(self._heard),
            at=self._at,
            opened=self._opened,
            model=self._model,
            gathered=self._gathered,
            tracker=self._tracker.dump(),
            evaluator=self._evaluator.dump(),
            said_at=self._teller.said_at,
            simulated=self._simulated,
        )

    def load(self, kept: KeptCamera) -> None:
        """Go on from a dump.

        Raises:
            ValueError: a part is no dump of this version.
        """
        self._lease, self._last, self._at = kept.lease, kept.last, kept.at
        self._heard = deque(kept.heard, maxlen=HEARD)
        self._model, self._gathered = kept.model, kept.gathered
        self._tracker.load(kept.tracker)
        self._evaluator.load(kept.evaluator)
        self._opened = kept.opened
        self._teller.said_at, self._simulated = kept.said_at, kept.simulated

    def _open(self, epoch: int, at: int, size: tuple[int, int]) -> None:
        self._tracker.open(epoch=epoch, at=at, size=size)
        self._opened = (epoch, size)

    def _track(self, event: DetectionsMade) -> list[Tracked]:
        found = event.detections
        ltwh = np.array([one.box for one in found], dtype=np.float64).reshape(-1, 4)
        return self._tracker.update(
            event.captured_at,
            geometry.to_ltrb(ltwh),
            np.array([one.score for one in found], dtype=np.float64),
            [one.label for one in found],
            Coverage(event.coverage, event.regions),
        )

    def _gather(self, event: DetectionsMade, tracked: Named) -> list[Said]:
        """Add the frame to its second; says the second before where that is over."""
        second_at = event.captured_at // SECOND * SECOND
        gathered, said = self._gathered, []
        if (gathered.second_at, gathered.epoch) != (second_at, event.epoch):
            said = self._flush()
            self._gathered = gathered = Gathered(
                second_at=second_at,
                epoch=event.epoch,
                width=event.width,
                height=event.height,
                paths={},
            )
        gathered.model = self._model
        gathered.simulated = event.simulated
        for name, one in tracked:
            _, _, points = gathered.paths.setdefault(name, (one.label, one.born_at, []))
            points.append(TrackPoint(event.captured_at, one.box, one.score))
        return said

    def _about(self, at: int, now: int) -> About:
        camera = self._knowledge.camera(self._name, at)
        epoch, seq = self._last
        return About(
            site=camera.site if camera is not None else "",
            camera=self._name,
            camera_version=camera.document_version if camera is not None else 0,
            epoch=epoch,
            seq=seq,
            said_at=now,
            model=self._model,
            tracker=self._version,
            simulated=self._simulated,
        )

    def _answer(self, said: PredicatesObserved | None) -> list[Said]:
        """What rules over several cameras are told, under an id of its own moment."""
        if said is None:
            return []
        moment = f"{self._name}/{said.observed_at}/{said.epoch}/{said.seq}"
        return [(derived(moment, said.type), said)]

    def _flush(self) -> list[Said]:
        """Say the second that is over, if somebody was seen in it."""
        gathered, self._gathered = self._gathered, Gathered(paths={})
        if not gathered.paths:
            return []
        observed = TracksObserved(
            camera=self._name,
            epoch=gathered.epoch,
            second_at=gathered.second_at,
            width=gathered.width,
            height=gathered.height,
            tracker=self._version,
            model=gathered.model,
            simulated=gathered.simulated,
            paths=tuple(
                TrackPath(name, label, born_at, tuple(points))
                for name, (label, born_at, points) in gathered.paths.items()
            ),
        )
        source = f"{self._name}/{gathered.epoch}/{gathered.second_at}"
        return [(derived(source, TracksObserved.type), observed)]

    def _overlay(self, event: DetectionsMade, tracked: Named, held: Named) -> Said:
        shown = [(*one, False) for one in tracked] + [(*one, True) for one in held]
        seen = TracksSeen(
            camera=self._name,
            epoch=event.epoch,
            seq=event.seq,
            captured_at=event.captured_at,
            width=event.width,
            height=event.height,
            simulated=event.simulated,
            tracks=tuple(
                SeenTrack(name, one.label, one.box, one.score, held) for name, one, held in shown
            ),
        )
        source = f"{self._name}/{event.epoch}/{event.seq}"
        return derived(source, TracksSeen.type), seen


def track_id(camera: str, tracked: Tracked) -> str:
    """The name of a track for ever: camera, epoch of its birth, number."""
    return f"{camera}-{tracked.epoch}-{tracked.number}"


def tracker_version(settings: TrackerSettings) -> str:
    """Which tracker, with which settings."""
    digest = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:12]
    return f"vantage-1:{digest}"
