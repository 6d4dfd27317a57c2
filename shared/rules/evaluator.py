"""The evaluator of one camera: frames in event-time order in, matches out; its state is a value."""

from collections.abc import Mapping, Sequence

import msgspec

from schemas.events.predicates_observed import Answer, Gap
from shared.rules.answers import Answers, Found
from shared.rules.checkpoint import (
    Checkpoint,
    decode,
    encode,
    keep_track,
    leaf_numbers,
    restore_track,
    rule_bits,
    rule_ids,
)
from shared.rules.document import Rule
from shared.rules.emission import Emission
from shared.rules.errors import Problem
from shared.rules.follower import Follower, TrackState
from shared.rules.health import Health
from shared.rules.plan import CompiledRule, Plan
from shared.rules.reader import FrameView, Reader
from shared.rules.schedules import MINUTE
from shared.rules.stays import GAP, Stay
from shared.rules.timeline import Timeline
from shared.rules.truth import FALSE, TRUE
from shared.rules.values import CoverageGap, Look, Match, NearMiss, Reading, Sighting, Step

NEVER = -(1 << 62)
NEAR = 4
"""A margin of at least minus one part in this many is a near miss."""


class Evaluator:
    """Rules of one camera over its frames.

    Feed it `update` for each frame and `mark` for each heartbeat in the order of the log. The outcome depends on
    nothing else: replay equals live, wherever `dump` and `load` come between. Rules and places change by event
    time, as the timeline says.
    """

    def __init__(self, camera: str, timeline: Timeline) -> None:
        self.camera = camera
        self.late = 0
        self._timeline = timeline
        self._at: int | None = None
        self._emission = Emission()
        self._found: list[Found] = []
        self._step = Step()
        self._health = Health(0)
        self._compile(NEVER)

    @property
    def refused(self) -> Mapping[str, tuple[Problem, ...]]:
        """Rules that do not fit this camera now, each with its problems."""
        return self._plan.refused

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules in force."""
        return [compiled.rule for compiled in self._plan.rules]

    def update(self, look: Look) -> Step:
        """Take a frame. One that is not later than the last is counted in `late` and ignored."""
        step = Step()
        if self._at is not None and look.at <= self._at:
            self.late += 1
            return step
        self._step = step
        self._switch(look.at)
        self._at = look.at
        self._health.mark(look.at, look.period)
        self._doubt(look.at)
        seen = self._follow(look)
        self._end_unseen(look)
        self._ask_frame(look.at)
        camera, unknown = self._camera_bits, self._unknown
        for state in seen:
            if state.changed or state.camera != camera or state.unknown != unknown:
                self._judge(state)
        self._judge_frame()
        if self._plan.parts:
            self._observe(look.at)
        step.matches = self._emit()
        return step

    def mark(self, at: int) -> None:
        """The camera was there at `at` (heartbeat, opened); nothing is evaluated."""
        self._health.mark(at)

    def interrupted(self, since: int, until: int) -> None:
        """Nothing is known about the camera from `since` until `until`."""
        self._health.away(since, until)

    @property
    def asked(self) -> bool:
        """Whether rules over several cameras ask this one."""
        return bool(self._plan.parts)

    @property
    def period(self) -> int:
        """The expected time between frames, in microseconds."""
        return self._health.period

    def answers(self, at: int, *, in_frame: bool = False) -> tuple[Answer, ...]:
        """What this camera answers to rules over several, as of `at`; `in_frame`: as of the frame just taken in."""
        return self._answers.say(at, in_frame=in_frame)

    def gaps(self, since: int) -> tuple[Gap, ...]:
        """What was not seen since then."""
        return self._answers.gaps(since)

    def readings(self) -> list[Reading]:
        """Value and margin of every rule for every track, as of the last frame taken in since the start or a load."""
        read, unknown = self._reader.read, self._unknown
        whole = [rule for rule in self._plan.rules if not rule.of_track]
        readings = [read(one, None, self._camera_bits, unknown) for one in whole]
        of_track = [rule for rule in self._plan.rules if rule.of_track]
        for state in self._states.values():
            pulses = state.pulses if state.last_seen == self._at else 0
            true = state.bits | pulses | self._camera_bits
            readings += [read(one, state, true, unknown) for one in of_track]
        return readings

    def dump(self) -> bytes:
        """The whole state; `load` of it goes on bit for bit as this evaluator would."""
        return encode(self._keep())

    def load(self, state: bytes) -> None:
        """Take over a dump; the timeline says which rules and places were in force then.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        kept = decode(state)
        self._compile(NEVER if kept.at is None else kept.at)
        self._restore(kept)

    # Versions

    def _switch(self, at: int) -> None:
        """Let versions whose time has come take effect; what they share with the old keeps its state."""
        if self._timeline.due(at):
            kept = self._keep()
            self._compile(at)
            self._restore(kept)

    def _compile(self, at: int) -> None:
        scene, rules = self._timeline.take(at)
        plan = self._plan = Plan(scene, rules)
        self._health.memory = plan.memory
        self._states: dict[str, TrackState] = {}
        self._alive: dict[str, int] = {}
        self._memories: dict[int, list[float]] = {index: [] for index, _, _ in plan.frame}
        self._fired = self._camera_bits = self._unknown = self._gapped = 0
        self._camera_seen = self._unknown_seen = self._counted = -1
        self._minute: int | None = None
        self._follower = Follower(plan, self._stay_ended)
        self._view = FrameView(plan, self._follower, self._alive)
        self._reader = Reader(plan, self._view, self._memories, self._states)
        self._answers = Answers(plan, self._states, self._reader, self._health)

    def _keep(self) -> Checkpoint:
        plan = self._plan
        return Checkpoint(
            at=self._at,
            late=self.late,
            tracks=[keep_track(plan, state) for state in self._states.values()],
            memories={plan.leaves[index].key: list(m) for index, m in self._memories.items()},
            fired=rule_ids(plan, self._fired),
            gapped=rule_ids(plan, self._gapped),
            emitted=self._emission.dump(NEVER if self._at is None else self._at),
            health=self._health.dump(),
            answered=self._answers.dump(),
        )

    def _restore(self, kept: Checkpoint) -> None:
        plan = self._plan
        self._at, self.late = kept.at, kept.late
        self._emission.load(kept.emitted)
        self._health.load(kept.health)
        self._answers.load(kept.answered)
        for key, memory in kept.memories.items():
            for index in leaf_numbers(plan, [key]):
                self._memories[index][:] = memory
        self._fired, self._gapped = rule_bits(plan, kept.fired), rule_bits(plan, kept.gapped)
        for track in kept.tracks:
            self._adopt(restore_track(plan, track))

    # One frame

    def _doubt(self, at: int) -> None:
        """Which questions are unknown now, since too much of their window was not covered."""
        if self._health.sound:
            self._unknown = self._gapped = 0
            self._follower.blind = _never_blind
            return
        self._follower.blind = lambda window: self._health.unknown(at, window)
        unknown = 0
        for bit, window in self._plan.windows:
            if self._health.unknown(at, window):
                unknown |= bit
        self._unknown = unknown
        for rule in self._plan.rules:
            if not rule.mask & unknown:
                self._gapped &= ~rule.bit
            elif not self._gapped & rule.bit:
                self._gapped |= rule.bit
                self._step.gaps.append(self._gap(rule, at))

    def _gap(self, rule: CompiledRule, at: int) -> CoverageGap:
        since, until = self._health.last_gap()
        return CoverageGap(rule=rule.rule.id, camera=self.camera, at=at, since=since, until=until)

    def _follow(self, look: Look) -> list[TrackState]:
        """Advance every track that was seen."""
        at, size, advance, states = look.at, look.size, self._follower.advance, self._states
        earliest = NEVER if look.held is not None else at - GAP
        seen = []
        for sighting in look.seen:
            state = states.get(sighting.track)
            if state is None or state.last_seen < earliest or state.label != sighting.label:
                state = self._begin(sighting, state)
            advance(state, sighting.box, size, at)
            seen.append(state)
        return seen

    def _begin(self, sighting: Sighting, before: TrackState | None) -> TrackState:
        """A track that is new, was unseen for too long, or became another class."""
        if before is not None:
            self._end(before)
        plan = self._plan.label(sighting.label)
        state = TrackState(sighting.track, sighting.label, sighting.born_at, plan)
        self._adopt(state)
        return state

    def _adopt(self, state: TrackState) -> None:
        self._states[state.id] = state
        self._alive[state.label] = self._alive.get(state.label, 0) + 1
        self._counted = -1
        self._follower.adopt(state)

    def _end_unseen(self, look: Look) -> None:
        """End tracks that the tracker has given up, or that were unseen for more than the gap."""
        if len(look.seen) == len(self._states):
            return
        at, held = look.at, look.held
        if held is None:
            ended = [s for s in self._states.values() if at - s.last_seen > GAP]
        else:
            ended = [s for s in self._states.values() if s.last_seen != at and s.id not in held]
        for state in ended:
            self._end(state)

    def _end(self, state: TrackState) -> None:
        self._follower.drop(state)
        self._alive[state.label] -= 1
        self._counted = -1
        del self._states[state.id]

    def _ask_frame(self, at: int) -> None:
        """Ask what is about the frame, once."""
        self._view.at = at
        before, bits, minute = self._camera_bits, 0, at // MINUTE
        counted, timed = self._counted == self._follower.changes, minute == self._minute
        for index, bit, leaf in self._plan.frame:
            memory = self._memories[index]
            if (timed and leaf.by_minute) or (
                counted and leaf.counts and (before & bit or not memory)
            ):
                bits |= before & bit
            elif leaf.step(memory, self._view):
                bits |= bit
        self._minute = minute
        self._camera_bits, self._counted = bits, self._follower.changes

    # What holds

    def _judge(self, state: TrackState) -> None:
        """Evaluate the rules whose answers may have changed for a track."""
        camera, unknown = self._camera_bits, self._unknown
        changed = state.changed | (state.camera ^ camera) | (state.unknown ^ unknown)
        if not changed:
            return
        fresh = state.camera < 0
        state.camera, state.unknown = camera, unknown
        steady = state.bits | camera
        true = steady | state.pulses
        for rule in self._plan.track_rules if fresh else self._touched(changed):
            value = rule.expression.value(true, unknown)
            if value == TRUE and not state.fired & rule.bit:
                self._found.append((rule, state, true))
            settled = value
            if rule.pulses & state.pulses:
                settled = rule.expression.value(steady, unknown)
            if settled == FALSE:
                state.fired &= ~rule.bit
            elif settled == TRUE and value == TRUE:
                state.fired |= rule.bit

    def _judge_frame(self) -> None:
        """Evaluate the rules that are about the frame alone."""
        bits, unknown = self._camera_bits, self._unknown
        if bits == self._camera_seen and unknown == self._unknown_seen:
            return
        self._camera_seen, self._unknown_seen = bits, unknown
        for rule in self._plan.frame_rules:
            value = rule.expression.value(bits, unknown)
            if value == TRUE and not self._fired & rule.bit:
                self._fired |= rule.bit
                self._found.append((rule, None, bits))
            elif value == FALSE:
                self._fired &= ~rule.bit

    def _touched(self, changed: int) -> Sequence[CompiledRule]:
        """Rules that ask one of the changed questions, each once, in their order."""
        touched: dict[int, CompiledRule] = {}
        while changed:
            lowest = changed & -changed
            changed ^= lowest
            for rule in self._plan.dependents[lowest.bit_length() - 1]:
                touched[rule.index] = rule
        return [touched[index] for index in sorted(touched)]

    def _observe(self, at: int) -> None:
        """Answers to rules over several cameras; what they found is no match yet."""
        first = len(self._plan.rules)
        found = [one for one in self._found if one[0].index >= first]
        self._found = [one for one in self._found if one[0].index < first]
        self._step.answers = self._answers.observe(at, self._camera_bits, self._fired, found)

    def _emit(self) -> list[Match]:
        """Matches of this frame, tracks of one group together, each with what became of it."""
        groups: dict[tuple[int, str], Match] = {}
        for rule, state, true in self._found:
            match = self._reader.match(rule, state, true)
            place = rule.index, match.group
            if place in groups:
                match = _joined(groups[place], match)
            groups[place] = match
        self._found.clear()
        for (index, group), match in groups.items():
            asked = self._plan.rules[index].rule
            outcome, incident_at, count = self._emission.decide(asked, group, match.matched_at)
            match.settle(outcome, incident_at, count)
        return list(groups.values())

    def _stay_ended(self, state: TrackState, number: int, stay: Stay) -> None:
        """A stay is over: say which rules it nearly fired."""
        thresholds = state.plan.watches[number].stayed[stay.step :]
        threshold = next((one for one in thresholds if one.bit & self._plan.missable), None)
        if threshold is None:
            return
        if (stay.until - stay.since) * NEAR < threshold.after * (NEAR - 1):
            return
        true = state.bits | self._camera_bits
        gauge = self._reader.gauge(state, true, stay.until, (number, stay))
        for rule in self._touched(threshold.bit):
            if rule.index >= len(self._plan.rules):
                continue  # a part: whether its rule nearly fired is not said
            margin = rule.expression.margin(gauge)
            if -1 / NEAR <= margin < 0 and not state.fired & rule.bit:
                self._step.near_misses.append(
                    NearMiss(
                        rule=rule.rule.id,
                        camera=self.camera,
                        track=state.id,
                        at=stay.until,
                        margin=margin,
                    )
                )


def _joined(one: Match, other: Match) -> Match:
    """One match of two tracks of a group in the same frame; it is as strong as the stronger."""
    return msgspec.structs.replace(
        one,
        tracks=one.tracks + other.tracks,
        started_at=min(one.started_at, other.started_at),
        margin=max(one.margin, other.margin),
    )


def _never_blind(_window: int) -> bool:
    return False
