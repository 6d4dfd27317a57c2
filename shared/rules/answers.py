"""What one camera answers to rules over several cameras: for each part, who holds it now and what is unknown."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from schemas.events.predicates_observed import Answer, Gap, Holder
from shared.rules.follower import TrackState
from shared.rules.health import Health
from shared.rules.plan import CompiledRule, Plan
from shared.rules.reader import Reader
from shared.rules.truth import TRUE, UNKNOWN

Found = tuple[CompiledRule, TrackState | None, int]
"""A part that became true, for a track or for the frame, and the answers that were true then."""


class KeptAnswer(msgspec.Struct, array_like=True):
    """What was answered last to one part, as far as a change can be seen from it."""

    part: str
    unknown: bool
    tracks: list[str]


class Answers:
    """The parts of one plan over the tracks of one camera."""

    def __init__(
        self, plan: Plan, states: Mapping[str, TrackState], reader: Reader, health: Health
    ) -> None:
        self._plan = plan
        self._states = states
        self._reader = reader
        self._health = health
        self._last: list[KeptAnswer] = []
        self._fired = self._camera = 0
        self._pulsed: list[Found] = []

    def observe(self, at: int, camera: int, fired: int, found: Sequence[Found]) -> bool:
        """Take a frame in; say whether an answer changed, or something held in this frame alone.

        `camera`: true answers about the frame; `fired`: rules about the frame that hold; `found`: parts that
        became true.
        """
        self._camera, self._fired = camera, fired
        self._pulsed = [one for one in found if not self._stays(one)]
        unknown = self._unknown(at)
        before, self._last = self._last, [self._summary(one, unknown) for one in self._plan.parts]
        return bool(self._pulsed) or self._last != before

    def say(self, at: int, *, in_frame: bool) -> tuple[Answer, ...]:
        """All answers as of `at`; `in_frame`: with what held in the frame that was just observed alone."""
        unknown = self._unknown(at)
        pulsed = self._pulsed if in_frame else []
        return tuple(
            Answer(
                question=part.rule.id,
                unknown=self._doubtful(part, unknown),
                holders=(
                    *(self._holder(part, state) for state in self._holding(part, unknown)),
                    *(self._holder(*one, momentary=True) for one in pulsed if one[0] is part),
                ),
            )
            for part in self._plan.parts
        )

    def gaps(self, since: int) -> tuple[Gap, ...]:
        """What was not seen since then."""
        return tuple(Gap(*gap) for gap in self._health.gaps if gap[1] > since)

    def dump(self) -> list[KeptAnswer]:
        """What `load` needs."""
        return self._last

    def load(self, last: list[KeptAnswer]) -> None:
        """Go on from a dump, perhaps of other parts."""
        self._last = last

    def _stays(self, found: Found) -> bool:
        part, state, _ = found
        return bool((self._fired if state is None else state.fired) & part.bit)

    def _summary(self, part: CompiledRule, unknown: int) -> KeptAnswer:
        holding = [state.id if state else "" for state in self._holding(part, unknown)]
        return KeptAnswer(part.rule.id, self._doubtful(part, unknown), holding)

    def _holding(self, part: CompiledRule, unknown: int) -> Iterator[TrackState | None]:
        """For whom it holds now."""
        doubt = part.mask & unknown
        if not part.of_track:
            if self._fired & part.bit and not (doubt and self._value(part, 0, unknown) != TRUE):
                yield None
            return
        for state in self._states.values():
            if not state.fired & part.bit:
                continue
            if not doubt or self._value(part, state.bits, unknown) == TRUE:
                yield state

    def _value(self, part: CompiledRule, bits: int, unknown: int) -> int:
        return part.expression.value(bits | self._camera, unknown)

    def _doubtful(self, part: CompiledRule, unknown: int) -> bool:
        """Whether there may be others for whom it holds: nobody in sight, all that is known put in."""
        if not part.mask & unknown:
            return False
        return part.of_track or self._value(part, 0, unknown) == UNKNOWN

    def _unknown(self, at: int) -> int:
        if self._health.sound:
            return 0
        found = 0
        for bit, window in self._plan.windows:
            if self._health.unknown(at, window):
                found |= bit
        return found

    def _holder(
        self,
        part: CompiledRule,
        state: TrackState | None,
        true: int | None = None,
        *,
        momentary: bool = False,
    ) -> Holder:
        steady = self._camera | (state.bits if state is not None else 0)
        match = self._reader.match(part, state, steady if true is None else true)
        return Holder(
            track=state.id if state is not None else "",
            label=match.label,
            zone=match.zone,
            line=match.line,
            started_at=match.started_at,
            margin=match.margin,
            momentary=momentary,
        )
