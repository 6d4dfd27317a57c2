"""From what cameras answer to incidents over several of them: one partition of `predicates` in order. Pure.

Live and offline use the same stage. It reads no clock and writes nothing; what is said twice, since a camera's own
stage was killed in between, counts once.
"""

import msgspec

from schemas.event import Envelope, type_name
from schemas.events.predicates_observed import PredicatesObserved
from services.orchestrator.domain import Facts, decide
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.stage import SOURCE, Effects, say
from shared.errors import Poison
from shared.rules.across.run import Completed
from shared.rules.across.site import Site
from shared.rules.across.trails import Heard

SHOWN = 3
"""Names of cameras in one sentence."""


class AcrossStage:
    """The sites of one partition of `predicates`."""

    def __init__(self, knowledge: Knowledge, *, source: str = SOURCE) -> None:
        self._knowledge = knowledge
        self._source = source
        self._sites: dict[str, Site] = {}

    def handle(self, envelope: Envelope, *, now: int) -> Effects:
        """Take in the next event of the partition; `now` is host time and only stamped on alerts.

        Raises:
            Poison: the event cannot be digested; the stage must be loaded anew.
        """
        event = envelope.event
        if not isinstance(event, PredicatesObserved):
            return Effects()
        heard = Heard(event, envelope.topic, envelope.partition, envelope.offset)
        try:
            outcomes = self._site(event.site).hear(heard)
        except ValueError as error:
            raise Poison(f"{type_name(type(event))} of {event.camera}: {error}") from error
        said = [
            say(envelope, self._source, id, one)
            for completed in outcomes.completed
            for id, one in decide(completed.match, self._facts(completed), raised_at=now)
        ]
        return Effects(fast=[], incidents=said, gaps=outcomes.gaps, late=outcomes.late)

    def dump(self) -> bytes:
        """The whole state; `load` of it goes on as this stage would."""
        return msgspec.msgpack.encode({name: site.dump() for name, site in self._sites.items()})

    def load(self, state: bytes) -> None:
        """Take over a dump.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        try:
            dumps = msgspec.msgpack.decode(state, type=dict[str, bytes])
        except msgspec.DecodeError as error:
            raise ValueError(f"not a checkpoint of this stage: {error}") from error
        self._sites = {}
        for name, dump in dumps.items():
            self._site(name).load(dump)

    def _site(self, name: str) -> Site:
        found = self._sites.get(name)
        if found is None:
            found = Site(name, self._knowledge.scenes, self._knowledge.rules)
            self._sites[name] = found
        return found

    def _facts(self, completed: Completed) -> Facts:
        """What is known of the camera that completed the match, and where on the log it was seen."""
        said, cause = completed.frame.event, completed.cause
        match = completed.match
        known = [self._knowledge.camera(name, match.matched_at) for name in match.cameras]
        named = [camera for camera in known if camera is not None]
        return Facts(
            epoch=said.epoch,
            seq=said.seq,
            camera_name=_listed([one.name for one in named]) or said.camera,
            site=said.site,
            time_zone=named[0].time_zone if named else "UTC",
            model=said.model,
            tracker=said.tracker,
            simulated=said.simulated,
            topic=cause.topic,
            partition=cause.partition,
            offset=cause.offset,
        )


def _listed(names: list[str]) -> str:
    """`Gate`, `Gate and Dock`, `Gate, Dock and 3 more`."""
    if len(names) > SHOWN:
        names = [*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
