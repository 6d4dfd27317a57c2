"""Rules over several cameras in a recomputation: which of them are asked for, whom they need, and what follows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from schemas.events.predicates_observed import PredicatesObserved
from services.analyze.lane import PartitionStage
from services.orchestrator.across import AcrossStage
from services.orchestrator.stage import Effects

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from schemas.event import Envelope
    from services.orchestrator.knowledge import Knowledge
    from shared.bus.port import Record


class Sites:
    """The stage over several cameras, behind the stages of the cameras.

    cameras: those that were asked for, none: all. A rule that asks one of them is derived as a whole; `along` are the
    other cameras that it asks. `bad`: statements that it could not digest.
    """

    def __init__(self, knowledge: Knowledge, cameras: Collection[str]) -> None:
        self.rules, asked = concerned(knowledge, frozenset(cameras))
        self.along = frozenset(asked - frozenset(cameras)) if cameras else frozenset[str]()
        self.bad = 0
        self._lane = PartitionStage(partial(AcrossStage, knowledge.only(self.rules)))

    def hear(self, record: Record, said: Sequence[Envelope]) -> Effects:
        """What follows from what a camera answers. The answers stand on no log: their place is that of the event."""
        found, place = Effects(), record.partition
        for one in said:
            if not isinstance(one.event, PredicatesObserved):
                continue
            heard = msgspec.structs.replace(
                one, topic=place.topic, partition=place.number, offset=record.offset
            )
            effects = self._lane.handle(heard, now=record.timestamp)
            if effects is None:
                self.bad += 1
            else:
                found.add(effects)
        return found


def concerned(knowledge: Knowledge, cameras: frozenset[str]) -> tuple[set[str], set[str]]:
    """Rules over several cameras that may ask one of these (none: any at all), and every camera that they may ask."""
    scenes, rules = knowledge.scenes, knowledge.rules
    sites = {one.site for name in cameras or scenes.names for one in scenes.versions(name)}
    near = [n for n in scenes.names if any(one.site in sites for one in scenes.versions(n))]
    found, asked = set[str](), set[str]()
    for id in rules.names:
        its = {name for name in near if any(rule.asks(name) for rule in rules.versions(id))}
        if its & cameras if cameras else its:
            found.add(id)
            asked |= its
    return found, asked
