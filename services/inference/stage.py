"""From frames to detections, one camera's events in order: decisions as values, no clock, no thread, no log.

Live and offline use the same stage: `begin` decides, somebody looks (`look_at`, in a thread or not), `finish` says
what was seen. `run` does all three, blocking.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from schemas import topics
from schemas.event import Envelope, Event, type_name
from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import (
    StreamAlive,
    StreamClosed,
    StreamInterrupted,
    StreamOpened,
)
from services.inference.gate import SECOND, Gate
from services.inference.look import Look, look_at
from shared.ids import derived

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.events.detections_made import Detection
    from schemas.events.plan_decided import PlanDecided
    from services.inference.backends.port import Detector

Mark: TypeAlias = StreamOpened | StreamAlive | StreamInterrupted | StreamClosed
PlanOf: TypeAlias = "Callable[[str], PlanDecided | None]"
DetectorOf: TypeAlias = "Callable[[PlanDecided], Detector | None]"


class DetectStage:
    """The cameras of the partitions that this process owns.

    `plan_of` gives the plan of a camera, `detector_of` the detector of a plan; both answer None where there is none
    (yet): then nothing is looked at, and the event says so.
    """

    def __init__(
        self, *, plan_of: PlanOf, detector_of: DetectorOf, source: str = "/vantage/inference"
    ) -> None:
        self._plan_of = plan_of
        self._detector_of = detector_of
        self._source = source
        self._cameras: dict[str, _Camera] = {}

    def begin(self, envelope: Envelope, *, skipped: int = 0) -> Envelope | Look | None:
        """Decide about the next event of a camera on `frames`.

        Returns what is to be said now, or a look that must be finished before the camera's next event begins, or
        None for what is not passed on: an event of a former lease holder, or one that was there already.
        `skipped`: frames of this camera that were dropped since the last event.
        """
        event = envelope.event
        if isinstance(event, FrameCaptured):
            camera = self._camera(event.camera)
            return self._frame(camera, envelope, event, skipped) if camera.admits(event) else None
        if isinstance(event, Mark):
            camera = self._camera(event.camera)
            return self._say(envelope, event) if camera.hears(envelope.id, event) else None
        return None

    def finish(self, look: Look, found: Sequence[Detection]) -> Envelope:
        """Say what was seen."""
        camera = self._camera(look.event.camera)
        if not look.plan.every_frame:
            camera.gate.looked(look.event.captured_at, look.glance, [seen.box for seen in found])
        period = camera.expected(look.plan)
        return self._say(look.envelope, _made(look.event, period, look=look, found=found))

    def fail(self, look: Look) -> Envelope:
        """Say that nobody could look."""
        camera = self._camera(look.event.camera)
        return self._unseen(camera, look.envelope, look.event, look.plan, look.skipped)

    def run(self, envelope: Envelope) -> list[Envelope]:
        """Begin, look and finish, blocking.

        Raises:
            DetectorFailed: the model could not look.
            shared.errors.Invalid: the frame's picture is broken.
        """
        begun = self.begin(envelope)
        if isinstance(begun, Look):
            return [self.finish(begun, look_at(begun))]
        return [begun] if begun is not None else []

    def forget(self, camera: str) -> None:
        """Another process owns this camera now; if it comes back, it is new to us."""
        self._cameras.pop(camera, None)

    def _camera(self, camera: str) -> _Camera:
        return self._cameras.setdefault(camera, _Camera())

    def _frame(
        self, camera: _Camera, envelope: Envelope, event: FrameCaptured, skipped: int
    ) -> Envelope | Look:
        plan = self._plan_of(event.camera)
        detector = self._detector_of(plan) if plan is not None else None
        if plan is None or detector is None:
            return self._unseen(camera, envelope, event, plan, skipped)
        glance = camera.gate.decide(
            event,
            rate=plan.rate,
            period=camera.period or round(SECOND / plan.rate),
            every_frame=plan.every_frame,
        )
        if glance.coverage == "none":
            return self._unseen(camera, envelope, event, plan, skipped)
        return Look(
            envelope=envelope,
            event=event,
            plan=plan,
            detector=detector,
            glance=glance,
            elapsed=camera.elapsed(event.captured_at),
            skipped=skipped,
        )

    def _unseen(
        self,
        camera: _Camera,
        envelope: Envelope,
        event: FrameCaptured,
        plan: PlanDecided | None,
        skipped: int,
    ) -> Envelope:
        made = _made(event, camera.expected(plan), plan=plan, skipped=skipped)
        return self._say(envelope, made)

    def _say(self, cause: Envelope, event: Event) -> Envelope:
        return Envelope(
            id=derived(cause.id, type_name(type(event))),
            source=self._source,
            topic=topics.DETECTIONS.name,
            key=event.key,
            event=event,
            traceparent=cause.traceparent,
            correlation=cause.correlation or cause.id,
        )


def _made(
    frame: FrameCaptured,
    period: int,
    *,
    look: Look | None = None,
    plan: PlanDecided | None = None,
    skipped: int = 0,
    found: Sequence[Detection] = (),
) -> DetectionsMade:
    """The event of a frame; without a `look` nobody looked."""
    plan = look.plan if look is not None else plan
    return DetectionsMade(
        camera=frame.camera,
        epoch=frame.epoch,
        seq=frame.seq,
        captured_at=frame.captured_at,
        width=frame.width,
        height=frame.height,
        lease=frame.lease,
        coverage=look.glance.coverage if look is not None else "none",
        regions=look.glance.regions if look is not None else (),
        period=period,
        model=look.model.version if look is not None else "",
        plan=plan.plan_version if plan is not None else 0,
        simulated=look.model.simulated if look is not None else False,
        skipped=look.skipped if look is not None else skipped,
        detections=tuple(found),
    )


@dataclass
class _Camera:
    """What the stage knows of a camera: the newest lease, epoch and frame, and its gate."""

    gate: Gate = field(default_factory=Gate)
    lease: int = -1
    epoch: int = -1
    last: tuple[int, int] = (-1, -1)
    opened: tuple[int, int] = (-1, 0)
    period: int = 0
    heard: deque[str] = field(default_factory=lambda: deque(maxlen=64))

    def admits(self, frame: FrameCaptured) -> bool:
        """Whether the frame is the lease holder's and was not there before."""
        if frame.lease < self.lease or (frame.epoch, frame.seq) <= self.last:
            return False
        self.lease = frame.lease
        self.last = (frame.epoch, frame.seq)
        self._turn_to(frame.epoch)
        return True

    def hears(self, id: str, mark: Mark) -> bool:
        """Whether the mark is the lease holder's and was not heard before."""
        if mark.lease < self.lease or id in self.heard:
            return False
        self.lease = mark.lease
        self.heard.append(id)
        if isinstance(mark, StreamOpened):
            self.period = mark.period
            self.opened = (mark.epoch, mark.opened_at)
            self._turn_to(mark.epoch)
        return True

    def elapsed(self, at: int) -> int:
        """Microseconds since the stream was opened; 0 where we did not hear it."""
        return max(0, at - self.opened[1]) if self.opened[0] == self.epoch else 0

    def expected(self, plan: PlanDecided | None) -> int:
        """Expected time between two looks."""
        if plan is None:
            return self.period or SECOND
        if plan.every_frame and self.period:
            return self.period
        return max(self.period, round(SECOND / plan.rate))

    def _turn_to(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch = epoch
            self.gate = Gate()
