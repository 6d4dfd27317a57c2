"""Reads answers: margins of rules, and the match that a rule's answer makes."""

from collections.abc import Callable, Mapping, Sequence

from shared.rules.areas import Area
from shared.rules.follower import Follower, TrackState
from shared.rules.leaves import FrameLeaf, Glance, Leaf, LineLeaf, SampleLeaf, ZoneLeaf
from shared.rules.plan import CompiledRule, Plan
from shared.rules.stays import Stay
from shared.rules.values import Match, Reading


class FrameView:
    """What is on the camera at one frame, for counting."""

    def __init__(self, plan: Plan, follower: Follower, alive: Mapping[str, int]) -> None:
        self.at = 0
        self._plan = plan
        self._follower = follower
        self._alive = alive

    def present(self, area: Area | None) -> Mapping[str, int]:
        """Tracks by class: inside an area, or on the camera."""
        if area is None:
            return self._alive
        number = self._plan.area_number(area.key)
        return {} if number is None else self._follower.present[number]


class Reader:
    """Answers of one plan at one moment, with their margins and where they come from."""

    def __init__(
        self,
        plan: Plan,
        view: FrameView,
        memories: Mapping[int, list[float]],
        states: Mapping[str, TrackState],
    ) -> None:
        self._plan = plan
        self._view = view
        self._memories = memories
        self._states = states

    def read(
        self, rule: CompiledRule, state: TrackState | None, true: int, unknown: int
    ) -> Reading:
        """Value and margin of a rule, for a track or for the frame."""
        return Reading(
            rule=rule.rule.id,
            track=state.id if state is not None else "",
            value=rule.expression.value(true, unknown),
            margin=rule.expression.margin(self.gauge(state, true, self._view.at)),
        )

    def gauge(
        self,
        state: TrackState | None,
        true: int,
        at: int,
        ended: tuple[int, Stay] | None = None,
    ) -> Callable[[int], float]:
        """Margins by number of the question, as of `at`; `ended` is a stay that ends just now."""

        def gauged(index: int) -> float:
            leaf = self._plan.leaves[index]
            return float(leaf.gauge(self._glance(index, state, bool(true >> index & 1), at, ended)))

        return gauged

    def match(self, rule: CompiledRule, first: TrackState | None, true: int) -> Match:
        """The match of a rule that holds, for a track, or for the frame where that is None."""
        at = self._view.at
        holding = [index for index in rule.positive if true >> index & 1]
        leaves = [self._plan.leaves[index] for index in holding]
        zone = next((leaf.zone for leaf in leaves if leaf.zone), "")
        line = next((leaf.line for leaf in leaves if leaf.line), "")
        label = first.label if first is not None else _only_class(leaves)
        tracks = (first.id,) if first is not None else ()
        head, scene = rule.rule.head, self._plan.scene
        return Match(
            rule=head.id,
            rule_version=head.version,
            rule_hash=rule.rule.hash,
            status=head.status,
            severity=head.level,
            title=rule.rule.title,
            camera=scene.camera,
            camera_version=scene.version,
            group=_group(rule, scene.camera, (tracks[0] if tracks else "", zone, line, label)),
            tracks=tracks or self._counted(leaves),
            label=label,
            zone=zone,
            line=line,
            started_at=self._started(holding, first),
            matched_at=at,
            margin=rule.expression.margin(self.gauge(first, true, at)),
        )

    def _glance(
        self,
        index: int,
        state: TrackState | None,
        holds: bool,
        at: int,
        ended: tuple[int, Stay] | None,
    ) -> Glance:
        leaf = self._plan.leaves[index]
        if state is None or isinstance(leaf, FrameLeaf):
            return Glance(at, holds, self._memories.get(index, []), self._view)
        glance = Glance(at, holds, state.memories.get(index, []), self._view, state.born_at)
        if isinstance(leaf, ZoneLeaf | SampleLeaf):
            number = self._plan.area_number(leaf.area.key)
            glance.stay = _stay(state, number, ended)
            glance.depth = _depth(leaf.area, state)
        elif isinstance(leaf, LineLeaf) and holds:
            number = self._plan.course_number(leaf.course.key)
            glance.crossing = state.crossed.get(-1 if number is None else number)
        return glance

    def _counted(self, leaves: Sequence[Leaf]) -> tuple[str, ...]:
        """The tracks that a count has counted."""
        counts = next(
            (leaf for leaf in leaves if isinstance(leaf, FrameLeaf) and leaf.counts), None
        )
        if counts is None:
            return ()
        number = None if counts.area is None else self._plan.area_number(counts.area.key)
        return tuple(
            state.id
            for state in self._states.values()
            if counts.asks(state.label) and (number is None or _inside(state, number))
        )

    def _started(self, holding: Sequence[int], state: TrackState | None) -> int:
        """When what the match rests on began: the stay, the crossing, the count."""
        for index in holding:
            begun = self._begun(self._plan.leaves[index], index, state)
            if begun is not None:
                return begun
        return self._view.at

    def _begun(self, leaf: Leaf, index: int, state: TrackState | None) -> int | None:
        if isinstance(leaf, FrameLeaf):
            memory = self._memories.get(index, [])
            return int(memory[0]) if leaf.counts and memory else None
        if state is None:
            return None
        if isinstance(leaf, LineLeaf):
            crossing = state.crossed.get(self._plan.course_number(leaf.course.key) or 0)
            return crossing.since if crossing is not None else None
        if isinstance(leaf, ZoneLeaf | SampleLeaf):
            number = self._plan.area_number(leaf.area.key) or 0
            stay = state.stays.get(number) or state.ended.get(number)
            if stay is None:
                return None
            return stay.left if isinstance(leaf, ZoneLeaf) and leaf.moment == "left" else stay.since
        return None


def _stay(state: TrackState, number: int | None, ended: tuple[int, Stay] | None) -> Stay | None:
    if number is None:
        return None
    if ended is not None and ended[0] == number:
        return ended[1]
    return state.stays.get(number)


def _depth(area: Area, state: TrackState) -> Callable[[], float]:
    x, y = (state.centre if area.anchor == "centre" else state.foot) or (0.0, 0.0)
    return lambda: area.depth(x, y, state.box)


def _inside(state: TrackState, number: int) -> bool:
    stay = state.stays.get(number)
    return stay is not None and stay.inside


def _only_class(leaves: Sequence[Leaf]) -> str:
    for leaf in leaves:
        if leaf.classes is not None and len(leaf.classes) == 1:
            return next(iter(leaf.classes))
    return ""


def _group(rule: CompiledRule, camera: str, values: tuple[str, str, str, str]) -> str:
    """The group key: the camera, and what the rule groups by, e.g. `back/track=back-1-7`."""
    by_field = dict(zip(("track", "zone", "line", "class"), values, strict=True))
    parts = [f"{field}={by_field[field]}" for field in rule.groups if field != "camera"]
    return f"{camera}/{','.join(parts)}" if parts else camera
