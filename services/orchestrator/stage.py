"""From detections to tracks, matches and incidents: one partition's events in order, effects as values. Pure.

Live and offline use the same stage. It reads no clock and writes nothing: what it says carries ids that follow from
what it heard, so that a replayed second says the same again.
"""

from typing import TypeAlias

import msgspec

from schemas.event import Envelope, Event, type_name
from schemas.events.detections_made import DetectionsMade
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted, StreamOpened
from services.orchestrator.camera import Camera, KeptCamera
from services.orchestrator.knowledge import Knowledge
from shared.errors import Poison
from shared.rules.values import CoverageGap, NearMiss
from shared.vision.tracker import LIVE, TrackerSettings

SOURCE = "/vantage/orchestrator"

Mark: TypeAlias = StreamOpened | StreamAlive | StreamInterrupted | StreamClosed


class Effects(msgspec.Struct):
    """What follows from some events.

    `fast`: tracks of frames and of seconds, said directly. `incidents`: incidents and alerts, said with their rows.
    `gaps`, `near_misses`: rules that could not be decided, and those that nearly fired. `late`: events that came
    out of order, again, or from a former lease holder, and were ignored.
    """

    fast: list[Envelope] = []
    incidents: list[Envelope] = []
    gaps: list[CoverageGap] = []
    near_misses: list[NearMiss] = []
    late: int = 0

    def add(self, other: "Effects") -> None:
        """Take in what follows from later events."""
        self.fast += other.fast
        self.incidents += other.incidents
        self.gaps += other.gaps
        self.near_misses += other.near_misses
        self.late += other.late


class CameraStage:
    """The cameras of one partition of `detections`."""

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        source: str = SOURCE,
        tracker: TrackerSettings = LIVE,
    ) -> None:
        self._knowledge = knowledge
        self._source = source
        self._settings = tracker
        self._cameras: dict[str, Camera] = {}
        self._dumps: dict[str, bytes] = {}

    def handle(self, envelope: Envelope, *, now: int) -> Effects:
        """Take in the next event of the partition; `now` is host time and only stamped on what is said.

        Raises:
            Poison: the event cannot be digested; the stage must be loaded anew.
        """
        event = envelope.event
        if not isinstance(event, DetectionsMade | Mark):
            return Effects()
        camera = self._camera(event.camera)
        effects = Effects()
        self._dumps.pop(event.camera, None)
        try:
            if isinstance(event, DetectionsMade):
                self._look(camera, envelope, event, effects, now)
            elif camera.hears(envelope.id, event):
                for second in camera.mark(event, now=now):
                    effects.fast.append(self._say(envelope, *second))
            else:
                effects.late += 1
        except ValueError as error:
            raise Poison(f"{type_name(type(event))} of {event.camera}: {error}") from error
        return effects

    def tracks(self, camera: str) -> int:
        """How many tracks the camera has now."""
        return self._camera(camera).alive

    def dump(self) -> bytes:
        """The whole state; `load` of it goes on as this stage would."""
        for name, camera in self._cameras.items():
            if name not in self._dumps:
                self._dumps[name] = msgspec.msgpack.encode(camera.dump())
        return msgspec.msgpack.encode(self._dumps)

    def load(self, state: bytes) -> None:
        """Take over a dump.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        try:
            dumps = msgspec.msgpack.decode(state, type=dict[str, bytes])
            kept = {n: msgspec.msgpack.decode(d, type=KeptCamera) for n, d in dumps.items()}
        except msgspec.DecodeError as error:
            raise ValueError(f"not a checkpoint of this stage: {error}") from error
        self._cameras, self._dumps = {}, dumps
        for name, one in kept.items():
            self._camera(name).load(one)

    def _camera(self, name: str) -> Camera:
        found = self._cameras.get(name)
        if found is None:
            found = self._cameras[name] = Camera(name, self._knowledge, self._settings)
        return found

    def _look(
        self,
        camera: Camera,
        envelope: Envelope,
        event: DetectionsMade,
        effects: Effects,
        now: int,
    ) -> None:
        if not camera.admits(event):
            effects.late += 1
            return
        seen = camera.look(event, now=now)
        effects.gaps += seen.gaps
        effects.near_misses += seen.near_misses
        effects.fast += [self._say(envelope, *one) for one in seen.fast]
        place = (envelope.topic, envelope.partition, envelope.offset)
        for match in seen.matches:
            for id, said in camera.decide(match, event, place, now):
                effects.incidents.append(self._say(envelope, id, said))

    def _say(self, cause: Envelope, id: str, event: Event) -> Envelope:
        return say(cause, self._source, id, event)


def say(cause: Envelope, source: str, id: str, event: Event) -> Envelope:
    """An event that follows from another one, at its home; it hands on trace and correlation."""
    return Envelope(
        id=id,
        source=source,
        topic=event.topics[0].name,
        key=event.key,
        event=event,
        traceparent=cause.traceparent,
        correlation=cause.correlation or cause.id,
    )
