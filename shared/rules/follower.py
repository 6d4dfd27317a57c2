"""Follows tracks through areas and over lines, sample by sample, and says which answers changed."""

from collections.abc import Callable

from schemas.event import Box
from shared.rules.grid import Grid
from shared.rules.lines import SETTLE, Crossing, Walk
from shared.rules.plan import Gate, LabelPlan, Plan, Threshold, Watch
from shared.rules.stays import ENTER, LEAVE, NEVER, Stay

Blind = Callable[[int], bool]
"""Whether a window of so many microseconds that ends now is unknown."""


class TrackState:
    """All that is known of one track between two samples.

    `bits`: questions that hold. `pulses`: those that held only at the last sample. `fired`: rules that hold.
    `camera`, `unknown`: answers about the frame at the last evaluation, -1 before the first.
    `ended`: stays that ended at this sample; `crossed`: crossings that settled at it.
    """

    __slots__ = (
        "age_due",
        "before_centre",
        "bits",
        "born_at",
        "box",
        "camera",
        "centre",
        "changed",
        "crossed",
        "ended",
        "fired",
        "foot",
        "id",
        "label",
        "last_seen",
        "memories",
        "plan",
        "pulses",
        "stays",
        "unknown",
        "walks",
    )

    def __init__(self, track: str, label: str, born_at: int, plan: LabelPlan) -> None:
        self.id = track
        self.label = label
        self.born_at = born_at
        self.plan = plan
        self.last_seen = -1
        self.foot: tuple[float, float] | None = None
        self.centre: tuple[float, float] | None = None
        self.before_centre: tuple[float, float] | None = None
        self.box: Box = (0.0, 0.0, 0.0, 0.0)
        self.stays: dict[int, Stay] = {}
        self.walks: dict[int, Walk] = {number: Walk() for number, _, _ in plan.gates}
        self.memories: dict[int, list[float]] = {index: [] for index, _, _ in plan.samples}
        self.ended: dict[int, Stay] = {}
        self.crossed: dict[int, Crossing] = {}
        self.age_due = born_at + plan.ages[0].after if plan.ages else NEVER
        self.bits = self.pulses = self.fired = self.changed = 0
        self.camera = self.unknown = -1

    def age(self, at: int) -> None:
        """The track is `at - born_at` old now."""
        for position, threshold in enumerate(self.plan.ages):
            if at - self.born_at >= threshold.after:
                self.bits |= threshold.bit
                following = self.plan.ages[position + 1 :]
                self.age_due = self.born_at + following[0].after if following else NEVER


def reach(thresholds: tuple[Threshold, ...], stay: Stay, at: int) -> int:
    """Bits of the dwell thresholds that a stay has reached anew at `at`; sets when the next is due."""
    bits, step = 0, stay.step
    while step < len(thresholds) and at - stay.since >= thresholds[step].after:
        bits |= thresholds[step].bit
        step += 1
    stay.step = step
    stay.due = stay.since + thresholds[step].after if step < len(thresholds) else NEVER
    return bits


class Follower:
    """Zone membership once per update and area; `present` counts who is inside, by area and class.

    `changes` grows whenever a count changes.
    """

    def __init__(self, plan: Plan, ended: Callable[[TrackState, int, Stay], None]) -> None:
        self.plan = plan
        self.present: list[dict[str, int]] = [{} for _ in plan.areas]
        self._ended = ended
        self.blind: Blind = lambda _window: False
        self.changes = 0

    def advance(self, state: TrackState, box: Box, size: tuple[int, int], at: int) -> None:
        """Take a sample: `box` in pixels of a frame of `size`. Sets `bits`, `pulses` and `changed`."""
        left, top, wide, high = box
        foot = (left + wide / 2.0) / size[0], (top + high) / size[1]
        before, plan = state.bits, state.plan
        state.changed, state.pulses = state.pulses, 0
        if state.ended:
            state.ended.clear()
        self._visit(state, plan.foot, foot, at)
        if plan.elsewhere:
            self._visit_elsewhere(state, box, size, at)
        if plan.gates:
            self._pass_gates(state, foot, at)
        state.foot = foot
        state.last_seen = at
        if at >= state.age_due:
            state.age(at)
        if plan.samples:
            self._sample(state, at)
        state.changed |= (before ^ state.bits) | state.pulses

    def drop(self, state: TrackState) -> None:
        """The track is gone: whatever it was in, it is no longer counted there."""
        for number, stay in state.stays.items():
            self._ended(state, number, stay)
            if stay.inside:
                self._count(number, state.label, -1)
        state.stays.clear()

    def adopt(self, state: TrackState) -> None:
        """Count a track that came from a checkpoint."""
        for number, stay in state.stays.items():
            if stay.inside:
                self._count(number, state.label, 1)

    def _visit(self, state: TrackState, grid: Grid, point: tuple[float, float], at: int) -> None:
        x, y = point
        stays = state.stays
        inside, doubtful, known = grid.cell(x, y)
        if stays and not known.issuperset(stays):
            self._pass_on(state, (stays.keys() & grid.numbers) - known, at)
        for number in inside:
            self._inside(state, number, at)
        for number, contains in doubtful:
            if contains(x, y):
                self._inside(state, number, at)
            elif number in stays:
                self._outside(state, number, at)

    def _pass_on(self, state: TrackState, numbers: set[int], at: int) -> None:
        for number in sorted(numbers):
            self._outside(state, number, at)

    def _visit_elsewhere(self, state: TrackState, box: Box, size: tuple[int, int], at: int) -> None:
        """Areas and lines that ask for another part of the track than its foot."""
        (left, top, wide, high), (width, height) = box, size
        state.before_centre = state.centre
        state.centre = (left + wide / 2.0) / width, (top + high / 2.0) / height
        state.box = left / width, top / height, wide / width, high / height
        self._visit(state, state.plan.centre, state.centre, at)
        for number, area in state.plan.boxed:
            if area.covers(state.box):
                self._inside(state, number, at)
            elif number in state.stays:
                self._outside(state, number, at)

    def _inside(self, state: TrackState, number: int, at: int) -> None:
        stay = state.stays.get(number)
        if stay is None:
            state.stays[number] = Stay(at)
            return
        stay.until = at
        stay.left = -1
        if at >= stay.due:
            self._mature(state, number, stay, at)

    def _mature(self, state: TrackState, number: int, stay: Stay, at: int) -> None:
        """Entering is confirmed, or a dwell threshold reached."""
        watch = state.plan.watches[number]
        if not stay.inside:
            if self.blind(ENTER):
                return  # not confirmed across an outage; asked again at the next sample
            stay.inside = True
            state.pulses |= watch.entered
            self._count(number, state.label, 1)
        state.bits |= reach(watch.stayed, stay, at)

    def _outside(self, state: TrackState, number: int, at: int) -> None:
        stay = state.stays[number]
        if not stay.inside:
            self._ended(state, number, stay)
            del state.stays[number]
            return
        if stay.left < 0:
            stay.left = at
        if at - stay.left >= LEAVE and not self.blind(LEAVE):
            self._leave(state, number, stay, state.plan.watches[number])

    def _leave(self, state: TrackState, number: int, stay: Stay, watch: Watch) -> None:
        self._ended(state, number, stay)
        del state.stays[number]
        state.ended[number] = stay
        state.pulses |= watch.left
        state.bits &= ~watch.bits
        self._count(number, state.label, -1)

    def _pass_gates(self, state: TrackState, foot: tuple[float, float], at: int) -> None:
        if state.crossed:
            state.crossed.clear()
        walks = state.walks
        for number, gate, (by_foot, ax, ay, dx, dy) in state.plan.gates:
            walk = walks[number]
            x, y = point = foot if by_foot else state.centre or foot
            offset = dx * (y - ay) - dy * (x - ax)
            if offset * walk.side > 0.0 and walk.pending is None and not walk.touched:
                continue
            course, before = gate.course, state.foot if by_foot else state.before_centre
            crossing = walk.step(course, before, point, at)
            if crossing is not None and not self.blind(SETTLE):
                self._cross(state, (number, gate), walk, crossing)

    def _cross(
        self, state: TrackState, place: tuple[int, Gate], walk: Walk, crossing: Crossing
    ) -> None:
        number, gate = place
        walk.pending = None
        state.crossed[number] = crossing
        state.pulses |= gate.to_right if crossing.side > 0 else gate.to_left

    def _sample(self, state: TrackState, at: int) -> None:
        for index, number, leaf in state.plan.samples:
            point = state.centre if leaf.area.anchor == "centre" else state.foot
            x, y = point or (0.0, 0.0)
            if leaf.step(state.memories[index], state.stays.get(number), x, y, at):
                state.bits |= 1 << index
            else:
                state.bits &= ~(1 << index)

    def _count(self, number: int, label: str, change: int) -> None:
        present = self.present[number]
        present[label] = present.get(label, 0) + change
        self.changes += 1
