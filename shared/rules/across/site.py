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
"""A camera that says nothing for so long, while others speak, is not waited for."""
PAUSE = 2 * SECOND
"""All live cameras speak more often: where nobody does for longer, nobody is silent, and a stage was away."""
STEP = 60 * SECOND
"""A host clock that is so far behind another was set back, or the other one is gone."""


class KeptMark(msgspec.Struct, array_like=True):
    """The newest statement of a camera, whether its stream ended with it, and when it spoke last."""

    at: int
    closed: bool
    spoke_at: int


class Pace(msgspec.Struct, array_like=True):
    """How long cameras have been speaking, by the host times of what they say; in microseconds.

    Host time passes here only while somebody speaks. After an outage of a stage the backlog of one camera comes
    before that of another: then event time runs ahead and this clock does not, and nobody is given up.
    """

    spoken: int = 0
    newest: int = -(1 << 62)

    def hear(self, said_at: int) -> None:
        """Somebody spoke at this host time."""
        if said_at < self.newest - STEP:
            self.newest = said_at
        if said_at > self.newest:
            self.spoken += min(said_at - self.newest, PAUSE)
            self.newest = said_at


class KeptSite(msgspec.Struct, array_like=True, tag="vantage.across.v1"):
    """A site between two statements. `waiting`: statements whose moment has not come for every rule."""

    late: int
    waiting: list[Heard]
    marks: dict[str, KeptMark]
    pace: Pace
    runs: dict[str, KeptRun]


class Outcomes(msgspec.Struct):
    """What followed from a statement. `late`: it was there before, or came too late for a rule."""

    completed: list[Completed] = []
    gaps: list[CoverageGap] = []
    late: int = 0


class Site:
    """Rules over the cameras of a site.

    A rule goes on to the event time that all its cameras have passed by the lateness. One that is silent or closed
    holds nobody up; one that speaks does, however far it is behind: its stage is catching up. So what comes out is the same in whatever order statements came, if none came later than that.
    """

    def __init__(self, name: str, scenes: History[Scene], rules: History[Rule]) -> None:
        self._name = name
        self._scenes = scenes
        self._rules = rules
        self._revision = -1
        self._runs: dict[str, Run] = {}
        self._waiting: dict[str, list[Heard]] = {}
        self._marks: dict[str, KeptMark] = {}
        self._pace = Pace()
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
        self._pace.hear(heard.event.said_at)
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
        return msgspec.msgpack.encode(KeptSite(self.late, waiting, self._marks, self._pace, runs))

    def load(self, state: bytes) -> None:
        """Take over a dump.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        try:
            kept = msgspec.msgpack.decode(state, type=KeptSite)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a checkpoint of a site: {error}") from error
        self.late, self._marks, self._pace = kept.late, kept.marks, kept.pace
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
        run.since = self._pace.spoken
        return run

    def _is_late(self, heard: Heard) -> bool:
        """Whether it was there before, or its moment is over for a rule."""
        camera, at = heard.event.camera, heard.at
        there = self._there(heard)
        if there is not None and there.frame >= heard.frame:
            return True
        return any(at < run.at for run in self._runs.values() if camera in run.cameras)

    def _put(self, heard: Heard) -> bool:
        """Put a statement into its place; False where one of its moment, or a newer one, stands there already."""
        camera, at = heard.event.camera, heard.at
        mark = self._marks.get(camera)
        if mark is None or at > mark.at:
            self._marks[camera] = KeptMark(at, heard.event.closed, self._pace.spoken)
        there = self._there(heard)
        line = self._waiting.setdefault(camera, [])
        place = bisect_left(line, at, key=_at)
        if there is None:
            line.insert(place, heard)
        elif there.frame < heard.frame:
            line[place] = heard
        return there is None or there.frame < heard.frame

    def _there(self, heard: Heard) -> Heard | None:
        """The statement of the same camera and moment."""
        line = self._waiting.get(heard.event.camera, [])
        place = bisect_left(line, heard.at, key=_at)
        return line[place] if place < len(line) and line[place].at == heard.at else None

    def _advance(self, run: Run, outcomes: Outcomes) -> None:
        """Take a rule through every moment that has come."""
        while True:
            limit = self._limit(run)
            at = self._next(run, limit)
            due = run.due(max(limit, self._passed(self._marks)) - 1 if at is None else at)
            if due is not None:
                before = run.cameras
                run.switch(max(due, run.at))
                run.since = run.since if run.cameras == before else self._pace.spoken
            elif at is None:
                run.at = max(run.at, limit)
                return
            else:
                completed, gaps = run.step(at, self._said(run, at))
                outcomes.completed += completed
                outcomes.gaps += gaps

    def _limit(self, run: Run) -> int:
        """The event time before which a rule waits for nothing more."""
        heard = [name for name in run.cameras if name in self._marks]
        if len(heard) < len(run.cameras) and self._pace.spoken - run.since <= SILENCE:
            return NEVER
        return self._passed(heard or self._marks)

    def _passed(self, cameras: Iterable[str]) -> int:
        """The event time that cameras have passed; one that is silent or closed is not waited for."""
        marks = [self._marks[name] for name in cameras]
        spoken = self._pace.spoken
        awaited = [m.at for m in marks if not m.closed and spoken - m.spoke_at <= SILENCE]
        if awaited:
            return min(awaited) - LATENESS
        return max((mark.at + 1 for mark in marks), default=NEVER)

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
