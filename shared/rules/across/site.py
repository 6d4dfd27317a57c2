"""The cameras of one site and the rules over several of them: statements in as they come, matches out in event time."""

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from shared.rules.across.run import NEVER, Completed, KeptRun, Run
from shared.rules.across.timeline import SiteTimeline
from shared.rules.across.trails import Heard
from shared.rules.document import Rule
from shared.rules.durations import SECOND
from shared.rules.errors import Problem
from shared.rules.scene import Scene
from shared.rules.timeline import History
from shared.rules.values import CoverageGap

LATENESS = 3 * SECOND
"""Statements may come so much later than newer ones of other cameras, or of their own, in event time."""
SILENCE = 10 * SECOND
"""A camera whose newest statement is so much older than the newest of all is not waited for."""


class KeptMark(msgspec.Struct, array_like=True):
    """The newest statement of a camera, and whether its stream ended with it."""

    at: int
    closed: bool


class KeptSite(msgspec.Struct, array_like=True, tag="vantage.across.v1"):
    """A site between two statements. `waiting`: statements whose moment has not come for every rule."""

    late: int
    waiting: list[Heard]
    marks: dict[str, KeptMark]
    runs: dict[str, KeptRun]


class Outcomes(msgspec.Struct):
    """What followed from a statement. `late`: it was there before, or came too late for a rule."""

    completed: list[Completed] = []
    gaps: list[CoverageGap] = []
    late: int = 0


class Site:
    """Rules over the cameras of a site.

    A rule goes on to the event time that all its cameras have passed by the lateness; one that is silent or closed
    holds nobody up. So what comes out is the same in whatever order statements came, if none came later than that.
    """

    def __init__(self, name: str, scenes: History[Scene], rules: History[Rule]) -> None:
        self._name = name
        self._scenes = scenes
        self._rules = rules
        self._revision = -1
        self._runs: dict[str, Run] = {}
        self._waiting: dict[str, list[Heard]] = {}
        self._marks: dict[str, KeptMark] = {}
        self.late = 0

    @property
    def refused(self) -> dict[str, tuple[Problem, ...]]:
        """Rules that no camera of the site can answer now, each with its problems."""
        return {name: run.refused for name, run in self._runs.items() if run.refused}

    @property
    def waiting(self) -> int:
        """How many statements wait for their moment."""
        return sum(map(len, self._waiting.values()))

    def hear(self, heard: Heard) -> Outcomes:
        """Take in the next statement of the log."""
        self._enrol()
        outcomes = Outcomes(late=int(self._is_late(heard)))
        self.late += outcomes.late
        if not self._put(heard):
            return outcomes
        for run in self._runs.values():
            if run.wants(heard.event.camera):
                self._advance(run, outcomes)
        self._forget()
        return outcomes

    def dump(self) -> bytes:
        """The whole state; `load` of it goes on as this site would."""
        waiting = [heard for _, line in sorted(self._waiting.items()) for heard in line]
        runs = {name: run.dump() for name, run in self._runs.items()}
        return msgspec.msgpack.encode(KeptSite(self.late, waiting, self._marks, runs))

    def load(self, state: bytes) -> None:
        """Take over a dump.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        try:
            kept = msgspec.msgpack.decode(state, type=KeptSite)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a checkpoint of a site: {error}") from error
        self.late, self._marks = kept.late, kept.marks
        self._waiting = {}
        for heard in kept.waiting:
            self._waiting.setdefault(heard.event.camera, []).append(heard)
        self._runs = {}
        for name, one in kept.runs.items():
            self._run(name).load(one)

    def _enrol(self) -> None:
        """Follow every rule over several cameras that is known; it counts from its event time on."""
        if self._revision == self._rules.revision:
            return
        self._revision = self._rules.revision
        for name in self._rules.names:
            if name not in self._runs and any(one.parts for one in self._rules.versions(name)):
                self._run(name)

    def _run(self, name: str) -> Run:
        timeline = SiteTimeline(self._name, name, self._scenes, self._rules)
        run = self._runs[name] = Run(self._name, timeline)
        return run

    def _is_late(self, heard: Heard) -> bool:
        """Whether it was there before, or its moment is over for a rule."""
        camera, at = heard.event.camera, heard.at
        line = self._waiting.get(camera, [])
        place = bisect_left(line, at, key=_at)
        if place < len(line) and line[place].at == at:
            return True
        return any(at < run.at for run in self._runs.values() if camera in run.cameras)

    def _put(self, heard: Heard) -> bool:
        """Put a statement into its place; False where one of its moment stands there already."""
        camera, at = heard.event.camera, heard.at
        mark = self._marks.get(camera)
        if mark is None or at > mark.at:
            self._marks[camera] = KeptMark(at, heard.event.closed)
        line = self._waiting.setdefault(camera, [])
        place = bisect_left(line, at, key=_at)
        if place < len(line) and line[place].at == at:
            return False
        line.insert(place, heard)
        return True

    def _advance(self, run: Run, outcomes: Outcomes) -> None:
        """Take a rule through every moment that has come."""
        while True:
            heard = [name for name in run.cameras if name in self._marks]
            limit = self._limit(heard or self._marks)
            at = self._next(run, limit)
            due = run.due(max(limit - 1, self._patience) if at is None else at)
            if due is not None:
                run.switch(max(due, run.at))
            elif at is None:
                run.at = max(run.at, limit)
                return
            else:
                completed, gaps = run.step(at, self._said(run, at))
                outcomes.completed += completed
                outcomes.gaps += gaps

    @property
    def _patience(self) -> int:
        """A version that counts from here on does not wait for the cameras of the one before."""
        newest = max((mark.at for mark in self._marks.values()), default=NEVER)
        return newest - LATENESS - SILENCE

    def _limit(self, cameras: Iterable[str]) -> int:
        """The event time before which nothing more is waited for."""
        marks = [mark for name in cameras if (mark := self._marks.get(name)) is not None]
        newest = max((mark.at for mark in marks), default=NEVER)
        awaited = [m.at for m in marks if not m.closed and newest - m.at <= SILENCE]
        if awaited:
            return min(awaited) - LATENESS
        return newest + 1 if marks else NEVER

    def _next(self, run: Run, limit: int) -> int | None:
        """The next moment of a rule, where it has come."""
        found = None
        for camera in run.cameras:
            line = self._waiting.get(camera, ())
            place = bisect_left(line, run.at, key=_at)
            if place < len(line) and line[place].at < limit:
                found = min(line[place].at, found if found is not None else limit)
        return found

    def _said(self, run: Run, at: int) -> list[Heard]:
        """The statements of a moment, by camera."""
        found = []
        for camera in run.cameras:
            line = self._waiting.get(camera, ())
            place = bisect_left(line, at, key=_at)
            if place < len(line) and line[place].at == at:
                found.append(line[place])
        return found

    def _forget(self) -> None:
        """Drop rules that are over, and statements whose moment is over for every rule."""
        for name in [name for name, run in self._runs.items() if run.over]:
            del self._runs[name]
        for camera, line in self._waiting.items():
            wanted = [run.at for run in self._runs.values() if run.wants(camera)]
            past = bisect_left(line, min(wanted), key=_at) if wanted else len(line)
            del line[:past]


def _at(heard: Heard) -> int:
    return heard.at
