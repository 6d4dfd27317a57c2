"""The rules of one camera as one program: each question once, and who depends on its answer."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from shared.rules.areas import CENTRE, FOOT, Area
from shared.rules.document import Field, Rule
from shared.rules.durations import SECOND
from shared.rules.errors import Problem, RuleError
from shared.rules.grid import Grid
from shared.rules.leaves import AgeLeaf, FrameLeaf, Leaf, LineLeaf, SampleLeaf, ZoneLeaf
from shared.rules.lines import Course
from shared.rules.scene import Scene
from shared.rules.truth import Expression

SAID = 60 * SECOND
"""A gap is remembered at least so long where other cameras' rules must hear of it."""

P = TypeVar("P", Area, Course)
Place = tuple[bool, float, float, float, float]
"""A line's anchor (by the foot or not), first point, and direction: `Course.place`."""


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule bound to a camera: its condition over the plan's numbered questions."""

    rule: Rule
    index: int
    expression: Expression
    mask: int
    positive: tuple[int, ...]
    of_track: bool
    groups: tuple[Field, ...]
    pulses: int

    @property
    def bit(self) -> int:
        """Its place in a track's mask of rules that hold."""
        return 1 << self.index


class Threshold(msgspec.Struct, frozen=True):
    """From `after` microseconds of a stay, or a life, on the question with this bit is true."""

    after: int
    bit: int


class Watch(msgspec.Struct, frozen=True):
    """What one area means to tracks of one class: bits of entering and leaving, thresholds of staying."""

    entered: int
    left: int
    stayed: tuple[Threshold, ...]
    bits: int


class Gate(msgspec.Struct, frozen=True):
    """What one line means to tracks of one class: bits by the side a crossing leads to."""

    course: Course
    to_right: int
    to_left: int


class LabelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What tracks of one class are asked; `elsewhere`: also about other parts than the foot."""

    foot: Grid
    centre: Grid
    boxed: tuple[tuple[int, Area], ...]
    elsewhere: bool
    watches: dict[int, Watch]
    gates: tuple[tuple[int, Gate, Place], ...]
    ages: tuple[Threshold, ...]
    samples: tuple[tuple[int, int, SampleLeaf], ...]


class Plan:
    """All rules of one camera, compiled. `refused` names those that do not fit it, and why.

    `parts` are what rules over several cameras ask of this one; they stand behind `rules` in `programs`.
    """

    def __init__(self, scene: Scene, rules: Sequence[Rule]) -> None:
        self.scene = scene
        self.leaves: list[Leaf] = []
        self.areas: list[Area] = []
        self.courses: list[Course] = []
        self.programs: list[CompiledRule] = []
        self.refused: dict[str, tuple[Problem, ...]] = {}
        self._numbers: dict[str, int] = {}
        self._area_numbers: dict[str, int] = {}
        self._course_numbers: dict[str, int] = {}
        self._labels: dict[str, LabelPlan] = {}
        ordered = sorted(rules, key=lambda rule: rule.id)
        for rule in ordered:
            if not rule.parts:
                self._add(rule.id, rule)
        self.rules = self.programs[:]
        for rule in ordered:
            self._add_parts(rule)
        self.parts = self.programs[len(self.rules) :]
        self._finish()

    def label(self, name: str) -> LabelPlan:
        """What tracks of this class are asked; worked out once."""
        found = self._labels.get(name)
        if found is None:
            found = self._labels[name] = self._label_plan(name)
        return found

    def area_number(self, key: str) -> int | None:
        """The number of an area by its key."""
        return self._area_numbers.get(key)

    def course_number(self, key: str) -> int | None:
        """The number of a line by its key."""
        return self._course_numbers.get(key)

    def leaf_number(self, key: str) -> int | None:
        """The number of a question by its key."""
        return self._numbers.get(key)

    def _add(self, name: str, rule: Rule) -> None:
        """Compile a rule; what does not fit is refused under `name`."""
        marks = len(self.leaves), len(self.areas), len(self.courses)
        try:
            compiled = self._compile(rule)
        except RuleError as error:
            self.refused[name] = self.refused.get(name, ()) + error.problems
            self._roll_back(*marks)
            return
        self.programs.append(compiled)

    def _add_parts(self, rule: Rule) -> None:
        """What a rule over several cameras asks of this one, each question once for all rules."""
        asked = {compiled.rule.id for compiled in self.programs}
        for text, part in rule.parts.items():
            if part.concerns(self.scene.camera) and part.key not in asked:
                self._add(rule.id, rule.part(text))

    def _compile(self, rule: Rule) -> CompiledRule:
        scene = self.scene.with_places(rule.places)
        expression = rule.match.expression(self._number, scene)
        indices = list(dict.fromkeys(expression.leaves()))
        of_track = [index for index in indices if not isinstance(self.leaves[index], FrameLeaf)]
        return CompiledRule(
            rule=rule,
            index=len(self.programs),
            expression=expression,
            mask=_mask(indices),
            positive=tuple(dict.fromkeys(expression.positive())),
            of_track=bool(of_track),
            groups=rule.group_by,
            pulses=_mask(index for index in indices if _pulse(self.leaves[index])),
        )

    def _number(self, leaf: Leaf) -> int:
        """The number of a question; the same one for every rule that asks it."""
        found = self._numbers.get(leaf.key)
        if found is not None:
            return found
        self._numbers[leaf.key] = len(self.leaves)
        self.leaves.append(leaf)
        place = _area(leaf)
        if isinstance(leaf, LineLeaf):
            _enrol(leaf.course, self.courses, self._course_numbers)
        elif place is not None:
            _enrol(place, self.areas, self._area_numbers)
        return len(self.leaves) - 1

    def _roll_back(self, leaves: int, areas: int, courses: int) -> None:
        """Forget the questions of a rule that was refused half way."""
        for leaf in self.leaves[leaves:]:
            del self._numbers[leaf.key]
        for area in self.areas[areas:]:
            del self._area_numbers[area.key]
        for course in self.courses[courses:]:
            del self._course_numbers[course.key]
        del self.leaves[leaves:], self.areas[areas:], self.courses[courses:]

    def _finish(self) -> None:
        self.frame = [
            (index, 1 << index, leaf)
            for index, leaf in enumerate(self.leaves)
            if isinstance(leaf, FrameLeaf)
        ]
        self.windows = [(1 << index, leaf.window) for index, leaf in enumerate(self.leaves)]
        self.memory = max((window for _, window in self.windows), default=0)
        if self.parts:
            self.memory = max(self.memory, SAID)
        self.dependents: list[tuple[CompiledRule, ...]] = [
            tuple(rule for rule in self.programs if rule.of_track and rule.mask >> index & 1)
            for index in range(len(self.leaves))
        ]
        self.missable = 0
        for rule in self.rules:
            self.missable |= rule.mask
        self.track_rules = tuple(rule for rule in self.programs if rule.of_track)
        self.frame_rules = tuple(rule for rule in self.programs if not rule.of_track)

    def _label_plan(self, label: str) -> LabelPlan:
        watches = {
            number: watch
            for number, area in enumerate(self.areas)
            if (watch := self._watch(area, label)) is not None
        }
        asked = [(number, self.areas[number]) for number in watches]
        gates = self._gates(label)
        return LabelPlan(
            foot=Grid([(n, area) for n, area in asked if area.anchor == FOOT]),
            centre=Grid([(n, area) for n, area in asked if area.anchor == CENTRE]),
            boxed=tuple((n, area) for n, area in asked if area.anchor not in (FOOT, CENTRE)),
            elsewhere=any(area.anchor != FOOT for _, area in asked)
            or not all(gate.course.by_foot for _, gate, _ in gates),
            watches=watches,
            gates=gates,
            ages=_thresholds(
                (leaf.after, 1 << index)
                for index, leaf in enumerate(self.leaves)
                if isinstance(leaf, AgeLeaf) and leaf.asks(label)
            ),
            samples=tuple(
                (index, self._area_numbers[leaf.area.key], leaf)
                for index, leaf in enumerate(self.leaves)
                if isinstance(leaf, SampleLeaf) and leaf.asks(label)
            ),
        )

    def _watch(self, area: Area, label: str) -> Watch | None:
        """What the area means to the class; None where nobody asks."""
        asked = [
            (index, leaf)
            for index, leaf in enumerate(self.leaves)
            if (place := _area(leaf)) is not None and place.key == area.key and leaf.asks(label)
        ]
        if not asked:
            return None
        moments = [(1 << i, leaf) for i, leaf in asked if isinstance(leaf, ZoneLeaf)]
        stayed = _thresholds((leaf.after, bit) for bit, leaf in moments if leaf.moment == "stayed")
        return Watch(
            entered=sum(bit for bit, leaf in moments if leaf.moment == "entered"),
            left=sum(bit for bit, leaf in moments if leaf.moment == "left"),
            stayed=stayed,
            bits=sum(threshold.bit for threshold in stayed),
        )

    def _gates(self, label: str) -> tuple[tuple[int, Gate, Place], ...]:
        gates = []
        for number, course in enumerate(self.courses):
            asked = [
                (1 << index, leaf.direction)
                for index, leaf in enumerate(self.leaves)
                if isinstance(leaf, LineLeaf) and leaf.course.key == course.key and leaf.asks(label)
            ]
            right = sum(bit for bit, direction in asked if direction in ("L2R", "any"))
            left = sum(bit for bit, direction in asked if direction in ("R2L", "any"))
            if asked:
                gates.append((number, Gate(course, right, left), course.place))
        return tuple(gates)


def _area(leaf: Leaf) -> Area | None:
    return leaf.area if isinstance(leaf, ZoneLeaf | SampleLeaf | FrameLeaf) else None


def _pulse(leaf: Leaf) -> bool:
    return isinstance(leaf, LineLeaf) or (isinstance(leaf, ZoneLeaf) and leaf.moment != "stayed")


def _mask(indices: Iterable[int]) -> int:
    mask = 0
    for index in indices:
        mask |= 1 << index
    return mask


def _thresholds(pairs: Iterable[tuple[int, int]]) -> tuple[Threshold, ...]:
    """In order of time, one for each time."""
    by_time: dict[int, int] = {}
    for after, bit in pairs:
        by_time[after] = by_time.get(after, 0) | bit
    return tuple(Threshold(after, bit) for after, bit in sorted(by_time.items()))


def _enrol(place: P, places: list[P], numbers: dict[str, int]) -> None:
    if place.key not in numbers:
        numbers[place.key] = len(places)
        places.append(place)
