"""The scheduler: detection, tracks and rules over the memory log, one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import topics
from schemas.cloudevents import decode
from services.inference.stage import DetectStage
from services.orchestrator.across import AcrossStage
from services.orchestrator.domain import plan
from services.orchestrator.stage import CameraStage
from shared.bus.publisher import message
from shared.platform import open_log
from shared.settings import PlatformSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.event import Envelope
    from schemas.events.camera_configured import CameraConfigured
    from services.analyze.film import Film
    from services.analyze.results import Results
    from services.analyze.watch import Watch
    from services.inference.backends.port import Detector
    from services.orchestrator.knowledge import Knowledge
    from services.orchestrator.stage import Effects
    from shared.bus.port import Log, Partition, Reader, Record

AT_ONCE = 64


class Stages:
    """Detection, tracks and rules over a memory log; nobody waits for anybody."""

    def __init__(
        self, document: CameraConfigured, knowledge: Knowledge, detector: Detector, watch: Watch
    ) -> None:
        decided = plan(document)
        self._detect = DetectStage(plan_of=lambda _: decided, detector_of=lambda _: detector)
        self._camera = CameraStage(knowledge)
        self._across = AcrossStage(knowledge)
        self._watch = watch

    async def play(self, film: Film, results: Results, advance: Callable[[int], None]) -> None:
        """Take every event of the film through all stages before the next."""
        heard = (topics.FRAMES, topics.DETECTIONS)
        async with open_log(PlatformSettings(bus_url="memory://")) as log:
            reader = await log.reader(
                heard, kind="tail", group="analyze", member="analyze", listener=Alone()
            )
            for envelope in film.envelopes():
                await log.append([message(envelope)])
                await self._settle(log, reader, results)
                advance(film.read)

    async def _settle(self, log: Log, reader: Reader, results: Results) -> None:
        while found := await reader.fetch(max_records=AT_ONCE, timeout=0):
            for record in (record for records in found.values() for record in records):
                envelope = decoded(record)
                if envelope.topic == topics.FRAMES.name:
                    made = self._watch.of("detect", self._detect.run, envelope)
                    await log.append([message(each) for each in made])
                else:
                    effects = self._watch.of("track_and_rules", self._perceive, envelope)
                    self._watch.of("write", results.take, envelope.event, effects)

    def _perceive(self, envelope: Envelope) -> Effects:
        """Tracks and rules, then the rules over several cameras: they see this one."""
        at = envelope.event.at if envelope.event is not None else 0
        effects = self._camera.handle(envelope, now=at)
        for said in effects.fast:
            effects.incidents += self._across.handle(said, now=at).incidents
        return effects


class Alone:
    """The only reader there is: partitions never come or go."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.assigned`."""

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """See `Listener.revoked`."""


def decoded(record: Record) -> Envelope:
    """The event of a record."""
    return decode(
        record.partition.topic,
        record.key or "",
        record.headers,
        record.value,
        picture=record.picture,
        partition=record.partition.number,
        offset=record.offset,
    )
