"""The evaluator's state as a value: keyed by what questions and places say, not by their numbers."""

from collections.abc import Iterable

import msgspec

from schemas.event import Box
from shared.rules.answers import KeptAnswer
from shared.rules.emission import Emitted
from shared.rules.follower import TrackState, reach
from shared.rules.health import HealthState
from shared.rules.lines import Crossing
from shared.rules.plan import Plan
from shared.rules.stays import Stay

Number = int | float


class KeptStay(msgspec.Struct, array_like=True):
    """A stay in an area."""

    since: int
    until: int
    left: int
    inside: bool


class KeptWalk(msgspec.Struct, array_like=True):
    """A track and a line."""

    side: int
    touched: bool
    pending: tuple[int, int] | None


class KeptTrack(msgspec.Struct, array_like=True):
    """A track."""

    id: str
    label: str
    born_at: int
    last_seen: int
    box: Box
    foot: tuple[float, float] | None
    centre: tuple[float, float] | None
    stays: dict[str, KeptStay]
    walks: dict[str, KeptWalk]
    memories: dict[str, list[Number]]
    holds: list[str]
    pulses: list[str]
    fired: list[str]


class Checkpoint(msgspec.Struct, array_like=True, tag="vantage.rules.v1"):
    """An evaluator between two frames."""

    at: int | None
    late: int
    tracks: list[KeptTrack]
    memories: dict[str, list[Number]]
    fired: list[str]
    gapped: list[str]
    emitted: dict[str, Emitted]
    health: HealthState
    answered: list[KeptAnswer] = []


def encode(checkpoint: Checkpoint) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(checkpoint)


def decode(data: bytes) -> Checkpoint:
    """From bytes.

    Raises:
        ValueError: they are no dump of this version.
    """
    try:
        return msgspec.msgpack.decode(data, type=Checkpoint)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a checkpoint of this evaluator: {error}") from error


def keep_track(plan: Plan, state: TrackState) -> KeptTrack:
    """A track under the keys of the plan."""
    return KeptTrack(
        id=state.id,
        label=state.label,
        born_at=state.born_at,
        last_seen=state.last_seen,
        box=state.box,
        foot=state.foot,
        centre=state.centre,
        stays={
            plan.areas[n].key: KeptStay(s.since, s.until, s.left, s.inside)
            for n, s in state.stays.items()
        },
        walks={
            plan.courses[n].key: KeptWalk(
                w.side, w.touched, None if w.pending is None else (w.pending.side, w.pending.since)
            )
            for n, w in state.walks.items()
        },
        memories={plan.leaves[n].key: list(m) for n, m in state.memories.items()},
        holds=leaf_keys(plan, state.bits),
        pulses=leaf_keys(plan, state.pulses),
        fired=rule_ids(plan, state.fired),
    )


def restore_track(plan: Plan, kept: KeptTrack) -> TrackState:
    """A track under another plan: what that plan does not ask is dropped, what it asks anew begins now."""
    state = TrackState(kept.id, kept.label, kept.born_at, plan.label(kept.label))
    state.last_seen = kept.last_seen
    state.box, state.foot, state.centre = kept.box, kept.foot, kept.centre
    _restore_stays(plan, state, kept)
    for key, walk in kept.walks.items():
        number = plan.course_number(key)
        if number is not None and number in state.walks:
            found = state.walks[number]
            found.side, found.touched = walk.side, walk.touched
            found.pending = None if walk.pending is None else Crossing(*walk.pending)
    for key, memory in kept.memories.items():
        index = plan.leaf_number(key)
        if index is not None and index in state.memories:
            state.memories[index] = list(memory)
    samples = {index for index, _, _ in state.plan.samples}
    for index in leaf_numbers(plan, kept.holds):
        if index in samples:
            state.bits |= 1 << index
    for index in leaf_numbers(plan, kept.pulses):
        state.pulses |= 1 << index
    state.age(kept.last_seen)
    state.fired = rule_bits(plan, kept.fired)
    return state


def leaf_keys(plan: Plan, bits: int) -> list[str]:
    """Keys of the questions in a mask."""
    return [leaf.key for index, leaf in enumerate(plan.leaves) if bits >> index & 1]


def leaf_numbers(plan: Plan, keys: Iterable[str]) -> list[int]:
    """Numbers of those questions that the plan asks."""
    found = (plan.leaf_number(key) for key in keys)
    return [number for number in found if number is not None]


def rule_ids(plan: Plan, bits: int) -> list[str]:
    """Ids of the rules in a mask."""
    return [rule.rule.id for rule in plan.programs if bits & rule.bit]


def rule_bits(plan: Plan, ids: Iterable[str]) -> int:
    """Mask of those rules that the plan has."""
    wanted = set(ids)
    return sum(rule.bit for rule in plan.programs if rule.rule.id in wanted)


def _restore_stays(plan: Plan, state: TrackState, kept: KeptTrack) -> None:
    for key, one in kept.stays.items():
        number = plan.area_number(key)
        if number is None or number not in state.plan.watches:
            continue
        stay = Stay(one.since)
        stay.until, stay.left, stay.inside = one.until, one.left, one.inside
        if stay.inside:
            state.bits |= reach(state.plan.watches[number].stayed, stay, stay.until)
        state.stays[number] = stay
