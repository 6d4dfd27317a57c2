"""One rule over several cameras of a site, over event time: statements in, matches out; its state is a value."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.rules.across.plan import Lasting, Line, Moment, Program, Verdict
from shared.rules.across.timeline import SiteTimeline
from shared.rules.across.trails import Heard, Held, Trail
from shared.rules.durations import SECOND
from shared.rules.emission import Emission, Emitted
from shared.rules.errors import Problem, RuleError
from shared.rules.truth import FALSE, TRUE, UNKNOWN
from shared.rules.values import CoverageGap, Match

NEVER = -(1 << 62)
PATIENCE = 10 * SECOND
"""A camera that a rule names and that has never said anything is missed after so long."""


class Completed(msgspec.Struct, frozen=True):
    """A match, the newest statement of the camera that completed it, and the statement at which it was seen."""

    match: Match
    frame: Heard
    cause: Heard


class KeptRun(msgspec.Struct, array_like=True):
    """A run between two moments."""

    at: int
    begun: int
    since: int
    holds: bool
    gapped: bool
    lines: dict[str, Line]
    memories: dict[str, Lasting]
    emitted: dict[str, Emitted]
    homes: dict[str, str]


class Run:
    """A rule over the statements of its cameras, moment by moment. `at`: the next moment is not before it.

    `since`: from when on it waits for cameras that never spoke, as the site counts time. A moment is the event time of a statement of one of its cameras. What happens in it depends on the statements
    up to it alone, and not on the order in which they came.
    """

    def __init__(self, site: str, timeline: SiteTimeline) -> None:
        self._site = site
        self._timeline = timeline
        self._emission = Emission()
        self._lines: dict[str, Line] = {}
        self._memories: dict[str, Lasting] = {}
        self._homes: dict[str, str] = {}
        self._holds = self._gapped = False
        self._begun = NEVER
        self.refused: tuple[Problem, ...] = ()
        self.at = NEVER
        self.since = 0
        self.program: Program | None = None
        self.switch(NEVER)

    @property
    def cameras(self) -> Sequence[str]:
        """The cameras that it asks now."""
        return self.program.cameras if self.program is not None else ()

    @property
    def over(self) -> bool:
        """The rule is not in force, and will not be as far as is known."""
        return self.program is None and not self.refused and not self._timeline.upcoming

    def wants(self, camera: str) -> bool:
        """Say whether statements of the camera count for it, or may."""
        return self.program is None or self._timeline.upcoming or camera in self.cameras

    def due(self, at: int) -> int | None:
        """From when on something else counts, where that is not after `at`."""
        return self._timeline.due(at)

    def switch(self, at: int) -> None:
        """Let the version in force at `at` count; parts that it shares with the one before keep their state."""
        self.at = max(self.at, at)
        rule, scenes = self._timeline.take(at)
        before, self.program, self.refused = self.program, None, ()
        if rule is not None:
            try:
                self.program = Program(rule, scenes)
            except RuleError as error:
                self.refused = error.problems
        if self.program is None or before is None:
            self._holds, self._begun = False, NEVER
        if self.program is None:
            self._lines.clear()
            self._memories.clear()

    def step(self, at: int, said: Sequence[Heard]) -> tuple[list[Completed], list[CoverageGap]]:
        """Take the statements of a moment, in the order of their cameras' names, and ask."""
        program = self.program
        self.at = at + 1
        if program is None:
            return [], []
        if self._begun == NEVER:
            self._begun = at
        for heard in said:
            self._take(program, heard)
        moment = Moment(at, self._lines, self._memories, program.named)
        verdicts = [question.ask(moment) for question in program.questions]
        gaps = self._doubt(program, at, verdicts)
        return self._judge(program, verdicts, said), gaps

    def dump(self) -> KeptRun:
        """The whole state."""
        return KeptRun(
            at=self.at,
            begun=self._begun,
            since=self.since,
            holds=self._holds,
            gapped=self._gapped,
            lines=self._lines,
            memories=self._memories,
            emitted=self._emission.dump(self.at - 1),
            homes=self._homes,
        )

    def load(self, kept: KeptRun) -> None:
        """Go on from a dump; the timeline says which version was in force then."""
        self.at = NEVER
        self.switch(kept.at - 1)
        self.at, self.since, self._begun = kept.at, kept.since, kept.begun
        self._holds, self._gapped = kept.holds, kept.gapped
        self._lines, self._memories, self._homes = kept.lines, kept.memories, kept.homes
        self._emission.load(kept.emitted)

    def _take(self, program: Program, heard: Heard) -> None:
        """A camera's next statement; a part that it was not asked is not known."""
        line = self._lines.get(heard.event.camera)
        before = line.last if line is not None else None
        trails: dict[str, Trail] = {}
        for answer in heard.event.answers:
            keep = program.keeps.get(answer.question)
            if keep is None:
                continue
            trail = (line.trails.get(answer.question) if line is not None else None) or Trail()
            trail.take(answer, heard, before, keep)
            trails[answer.question] = trail
        self._lines[heard.event.camera] = Line(heard, trails)

    def _doubt(self, program: Program, at: int, verdicts: Sequence[Verdict]) -> list[CoverageGap]:
        """Say once that the rule cannot be decided, and again after it could."""
        if all(verdict.value != UNKNOWN for verdict in verdicts):
            self._gapped = False
            return []
        missed = [name for name in program.cameras if not self._is_known(name, at)]
        if self._gapped or (not self._lines.keys() & set(missed) and at - self._begun < PATIENCE):
            return []
        self._gapped = True
        camera = missed[0] if missed else program.cameras[0]
        line = self._lines.get(camera)
        since = line.last.at if line is not None else self._begun
        return [CoverageGap(rule=program.rule.id, camera=camera, at=at, since=since, until=at)]

    def _is_known(self, camera: str, at: int) -> bool:
        line = self._lines.get(camera)
        return line is not None and at <= line.last.until

    def _judge(
        self, program: Program, verdicts: Sequence[Verdict], said: Sequence[Heard]
    ) -> list[Completed]:
        true, unknown = _masks([one.value for one in verdicts])
        value = settled = program.expression.value(true, unknown)
        if any(one.settled != one.value for one in verdicts):
            settled = program.expression.value(*_masks([one.settled for one in verdicts]))
        found = []
        if value == TRUE and not self._holds:
            found = [self._completed(program, verdicts, true, said)]
        if settled == FALSE:
            self._holds = False
        elif settled == TRUE and value == TRUE:
            self._holds = True
        return found

    def _completed(
        self, program: Program, verdicts: Sequence[Verdict], true: int, said: Sequence[Heard]
    ) -> Completed:
        """The match of this moment, and what became of it."""
        speaking = [verdicts[index] for index in program.positive if true >> index & 1]
        held = list({(one.camera, one.track): one for v in speaking for one in v.held}.values())
        last = max((one.since for one in held), default=0)
        camera = min((one.camera for one in held if one.since == last), default="")
        frame = self._lines[camera].last if camera else said[0]
        match = self._match(program, held, frame, said[0].at)
        margin = program.expression.margin(lambda index: verdicts[index].margin)
        match = msgspec.structs.replace(match, margin=margin)
        outcome, incident_at, count = self._emission.decide(
            program.rule, match.group, match.matched_at
        )
        match.settle(outcome, incident_at, count)
        if outcome == "opened":
            self._homes[match.group] = match.camera
        home = self._homes.get(match.group, match.camera)
        return Completed(msgspec.structs.replace(match, camera=home), frame, said[0])

    def _match(self, program: Program, held: Sequence[Held], frame: Heard, at: int) -> Match:
        rule, said = program.rule, frame.event
        of_camera = [one for one in held if one.camera == said.camera] or list(held)
        values = {
            "camera": said.camera,
            "zone": next((one.zone for one in of_camera if one.zone), ""),
            "line": next((one.line for one in of_camera if one.line), ""),
            "class": _only({one.label for one in held if one.label}),
        }
        return Match(
            rule=rule.id,
            rule_version=rule.head.version,
            rule_hash=rule.hash,
            status=rule.head.status,
            severity=rule.head.level,
            title=rule.title,
            camera=said.camera,
            camera_version=said.camera_version,
            group=_group(self._site, rule.group_by, values),
            tracks=tuple(one.track for one in held if one.track),
            label=values["class"],
            zone=values["zone"],
            line=values["line"],
            started_at=min((one.started_at for one in held), default=at),
            matched_at=at,
            margin=0.0,
            cameras=tuple(sorted({one.camera for one in held} | {said.camera})),
        )


def _masks(values: Sequence[int]) -> tuple[int, int]:
    true = unknown = 0
    for index, value in enumerate(values):
        if value == TRUE:
            true |= 1 << index
        elif value == UNKNOWN:
            unknown |= 1 << index
    return true, unknown


def _only(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""


def _group(site: str, fields: Sequence[str], values: Mapping[str, str]) -> str:
    """The group key: the site, and what the rule groups by, e.g. `site=home,zone=hall`."""
    return ",".join([f"site={site}", *(f"{field}={values[field]}" for field in fields)])
