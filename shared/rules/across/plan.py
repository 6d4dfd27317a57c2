"""A rule over several cameras, bound to the cameras of one site: its questions, and the expression over them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from shared.rules.across.trails import Heard, Held, Spell, Trail, add_blank, blank_time
from shared.rules.conditions import Asked, Condition, Joined, Negated
from shared.rules.document import Rule
from shared.rules.errors import Problem, RuleError, refuse
from shared.rules.health import TOLERATED
from shared.rules.leaves import BOOLEAN, FrameLeaf
from shared.rules.predicates.count import SPARE
from shared.rules.questions import CountAcross, Distinct, OnCamera
from shared.rules.scene import Scene
from shared.rules.schedules import MINUTE
from shared.rules.truth import FALSE, TRUE, UNKNOWN, Either, Every, Expression, Negation, One

FORGOTTEN = 3_600_000_000
"""A camera that no rule names and that has said nothing for so long belongs to it no more, in microseconds."""
MANY = 1 << 30
"""More than any count."""


class Line(msgspec.Struct):
    """What is known of one camera: its newest statement, and its parts by key."""

    last: Heard
    trails: dict[str, Trail] = {}


class Lasting(msgspec.Struct, array_like=True):
    """Since when a count has not been false (-1: it is), the last moment it was asked, and when it was unknown."""

    since: int = -1
    asked_at: int = -1
    unknown: bool = False
    blanks: list[Spell] = []


class Moment(msgspec.Struct):
    """One moment of event time and all that is known as of it. `named`: cameras that are missed when they are silent."""

    at: int
    lines: Mapping[str, Line]
    memories: dict[str, Lasting]
    named: frozenset[str]


class Verdict(msgspec.Struct, frozen=True):
    """An answer: its value, the value without what held at this moment alone, margin, and whom it rests on."""

    value: int
    settled: int
    margin: float
    held: tuple[Held, ...] = ()


class Question(Protocol):
    """A numbered question of a rule."""

    def ask(self, moment: Moment) -> Verdict:
        """The answer as of a moment. Moments only go on: what lasts is remembered."""
        ...


class Program:
    """A rule compiled for a site. `cameras` are asked; `keeps` says how far back, by part.

    Raises:
        RuleError: no camera of the site can be asked, or one that the rule names is not there.
    """

    def __init__(self, rule: Rule, scenes: Mapping[str, Scene]) -> None:
        self.rule = rule
        self.questions: list[Question] = []
        self.keeps: dict[str, int] = {}
        self._scenes = scenes
        asked: set[str] = set()
        self._asked = asked
        self.expression = self._compile(rule.match)
        self.cameras = tuple(sorted(asked))
        self.positive = tuple(self.expression.positive())
        self.named = frozenset(rule.head.scope.cameras) | {
            camera for part in rule.parts.values() for camera in part.cameras
        }

    def _compile(self, match: Condition) -> Expression:
        if isinstance(match, Joined):
            several = tuple(self._compile(part) for part in match.parts)
            return Every(several) if match.every else Either(several)
        if isinstance(match, Negated):
            return Negation(self._compile(match.part))
        self.questions.append(self._question(match))
        return One(len(self.questions) - 1)

    def _question(self, match: Condition) -> Question:
        if isinstance(match, OnCamera):
            key, _ = self._part(match.text, match.window, match.path)
            return CameraQuestion(match, key)
        if isinstance(match, CountAcross):
            key, cameras = self._part(match.text, match.window, match.path)
            return CountQuestion(match, key, cameras)
        if isinstance(match, Distinct):
            key, cameras = self._part(match.text, match.window, match.path)
            return DistinctQuestion(match, key, cameras)
        if not isinstance(match, Asked):
            raise TypeError(f"{type(match).__name__} is no question")
        return self._clock(match)

    def _part(self, text: str, window: int, path: str) -> tuple[str, tuple[str, ...]]:
        """The key of a part, and the cameras of the site that can answer it.

        Raises:
            RuleError: there is none.
        """
        part, cameras, problems = self.rule.parts[text], list[str](), tuple[Problem, ...]()
        for name in sorted(self._scenes):
            if self.rule.covers(name) and part.concerns(name):
                refused = self._refused(text, name)
                problems = problems or refused
                cameras += [] if refused else [name]
        missing = sorted(set(part.cameras) - set(self._scenes))
        if missing or not (cameras or problems):
            what = "no camera of the site can be asked this"
            raise refuse(path, missing or list(self._scenes), what, "add it, or correct the name")
        if set(part.cameras) - set(cameras) or not cameras:
            raise RuleError(problems)
        self._asked.update(cameras)
        self.keeps[part.key] = max(window, self.keeps.get(part.key, 0))
        return part.key, tuple(cameras)

    def _refused(self, text: str, camera: str) -> tuple[Problem, ...]:
        """Why the camera cannot be asked."""
        scene = self._scenes[camera].with_places(self.rule.places)
        try:
            self.rule.parts[text].condition.expression(lambda _: 0, scene)
        except RuleError as error:
            return error.problems
        return ()

    def _clock(self, match: Asked) -> Question:
        """A schedule, by the clock of the site."""
        scene = self._scenes[min(self._scenes)].with_places(self.rule.places)
        leaf = match.predicate.bind(scene, match.path)
        if not isinstance(leaf, FrameLeaf):
            raise refuse(match.path, match.name, "it is about one camera", "write camera: name")
        return ClockQuestion(leaf)


def problems(rule: Rule, scenes: Mapping[str, Scene]) -> tuple[Problem, ...]:
    """Why the cameras of a site cannot answer a rule; none where they can."""
    try:
        Program(rule, scenes)
    except RuleError as error:
        return error.problems
    return ()


class CameraQuestion:
    """An operator on one camera: true where somebody holds it, or held it within the window."""

    def __init__(self, asked: OnCamera, key: str) -> None:
        self._camera, self._within, self._key = asked.camera, asked.within, key

    def ask(self, moment: Moment) -> Verdict:
        """Whoever was seen counts; that nobody did must have been seen too."""
        line = moment.lines.get(self._camera)
        trail = line.trails.get(self._key) if line is not None else None
        if line is None or trail is None:
            return Verdict(UNKNOWN, UNKNOWN, -BOOLEAN)
        at, heard = moment.at, line.last
        held = tuple(trail.within(at, self._within, heard.until))
        doubt = trail.doubtful(at, self._within, heard.at, heard.until)
        nobody = UNKNOWN if doubt else FALSE
        value = TRUE if held else nobody
        settled = TRUE if self._within and held else nobody
        if not self._within and any(one.track in trail.holding for one in held):
            settled = TRUE
        margin = max((one.margin for one in held), default=-BOOLEAN)
        return Verdict(value, settled, margin, held)


class CountQuestion:
    """How many tracks there are on all cameras together; a camera that is unknown may hold any number."""

    def __init__(self, asked: CountAcross, key: str, cameras: Sequence[str]) -> None:
        self._asked, self._key, self._cameras = asked, key, cameras
        self._memory = f"{key};{asked.op};{asked.n};{asked.lasting}"

    def ask(self, moment: Moment) -> Verdict:
        """Compare, then ask since when."""
        held, doubtful = _gathered(moment, (self._key, 0), self._cameras)
        compare = SPARE[self._asked.op]
        spare = compare(len(held), self._asked.n)
        most = MANY if doubtful else len(held)
        now = _compared(compare, self._asked.n, (len(held), most))
        margin = spare / max(self._asked.n, 1)
        lasting = self._asked.lasting
        if not lasting:
            return Verdict(now, now, margin, tuple(held))
        memory = moment.memories.setdefault(self._memory, Lasting())
        value = _lasted(memory, now, moment.at, lasting)
        if now == TRUE and value == FALSE:
            margin = (moment.at - memory.since - lasting) / lasting
        return Verdict(value, value, margin, tuple(held))


class DistinctQuestion:
    """How many different values there were within the window."""

    def __init__(self, asked: Distinct, key: str, cameras: Sequence[str]) -> None:
        self._asked, self._key, self._cameras = asked, key, cameras

    def ask(self, moment: Moment) -> Verdict:
        """A doubtful camera may add any number of values, or just itself where cameras are counted."""
        asked = self._asked
        held, doubtful = _gathered(moment, (self._key, asked.within), self._cameras)
        found = {name for one in held if (name := self._name(one))}
        most = len(found) + (MANY if doubtful else 0)
        if asked.field == "camera":
            most = len(found | doubtful)
        compare = SPARE[asked.op]
        value = _compared(compare, asked.n, (len(found), most))
        margin = compare(len(found), asked.n) / max(asked.n, 1)
        return Verdict(value, value, margin, tuple(held))

    def _name(self, held: Held) -> str:
        if self._asked.field == "track":
            return f"{held.camera}/{held.track}"
        values = {"camera": held.camera, "zone": held.zone, "class": held.label}
        return values[self._asked.field]


class ClockQuestion:
    """A schedule; its answer can change on full minutes alone."""

    def __init__(self, leaf: FrameLeaf) -> None:
        self._leaf = leaf
        self._minute: int | None = None
        self._verdict = Verdict(FALSE, FALSE, -BOOLEAN)

    def ask(self, moment: Moment) -> Verdict:
        """By the wall clock of the site."""
        minute = moment.at // MINUTE
        if minute != self._minute:
            self._minute = minute
            holds = self._leaf.step([], _Clock(moment.at))
            value = TRUE if holds else FALSE
            self._verdict = Verdict(value, value, BOOLEAN if holds else -BOOLEAN)
        return self._verdict


class _Clock:
    """What a schedule sees of a frame."""

    def __init__(self, at: int) -> None:
        self.at = at

    def present(self, _area: object) -> Mapping[str, int]:
        """Nobody."""
        return {}


def _gathered(
    moment: Moment, asked: tuple[str, int], cameras: Sequence[str]
) -> tuple[list[Held], set[str]]:
    """For whom a part held within a window on any of the cameras, and the cameras of which that is not sure."""
    key, window = asked
    at, held, doubtful = moment.at, list[Held](), set[str]()
    for camera in cameras:
        line = moment.lines.get(camera)
        trail = line.trails.get(key) if line is not None else None
        if line is None or trail is None:
            sure = False
        else:
            heard = line.last
            held += trail.within(at, window, heard.until)
            sure = not trail.doubtful(at, window, heard.at, heard.until)
        if not sure and (camera in moment.named or not _is_gone(line, at)):
            doubtful.add(camera)
    return held, doubtful


def _is_gone(line: Line | None, at: int) -> bool:
    """Whether a camera that nobody named is no part of the rule: it never spoke, no longer does, or its stream ended."""
    return line is None or line.last.event.closed or at - line.last.at > FORGOTTEN


def _compared(compare: Callable[[int, int], int], n: int, span: tuple[int, int]) -> int:
    """Compare every number from the least to the most that it may be: one answer for all, or unknown."""
    least, most = span
    turning = {max(least, min(most, number)) for number in (least, most, n - 1, n, n + 1)}
    holds = {compare(number, n) >= 0 for number in turning}
    return UNKNOWN if len(holds) == 2 else TRUE if holds == {True} else FALSE


def _lasted(memory: Lasting, now: int, at: int, lasting: int) -> int:
    """Whether something has been true for so long, unknown for at most 5 % of that time."""
    if memory.unknown:
        add_blank(memory.blanks, memory.asked_at, at)
    memory.asked_at, memory.unknown = at, now == UNKNOWN
    memory.blanks = [spell for spell in memory.blanks if spell[1] > at - lasting]
    if now == FALSE:
        memory.since = -1
        return FALSE
    if memory.since < 0:
        memory.since = at
    if at - memory.since < lasting:
        return FALSE
    blank = blank_time(memory.blanks, at - lasting, at)
    return UNKNOWN if now == UNKNOWN or blank * TOLERATED > lasting else TRUE
