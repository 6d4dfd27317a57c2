"""What ingest says of one camera: frames and marks directly, states through the outbox.

Ids derive from camera, epoch and ordinal: whatever is said twice after a restart has the same id.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import (
    StreamAlive,
    StreamClosed,
    StreamInterrupted,
    StreamOpened,
)
from schemas.topics import FRAMES
from shared.errors import Transient
from shared.images import Bitmap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Envelope, Event
    from services.ingest.domain import State
    from services.ingest.epochs import Epoch
    from services.ingest.hosts import Picture
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.traces.port import Spans

AGAIN_S = 1.0

_log = structlog.get_logger()


class Announcer:
    """Speaks for one camera."""

    def __init__(self, camera: str, publisher: Publisher, clock: Clock, spans: Spans) -> None:
        self.camera = camera
        self._publisher = publisher
        self._clock = clock
        self._spans = spans

    async def opened(self, epoch: Epoch) -> None:
        """A new epoch begins."""
        mark = StreamOpened(
            camera=self.camera,
            epoch=epoch.number,
            opened_at=epoch.opened_at,
            lease=epoch.lease,
            width=epoch.opened.width,
            height=epoch.opened.height,
            period=epoch.opened.period,
        )
        await self._surely([self._mark(mark, epoch.number, "opened")])

    async def interrupted(
        self, epoch: int, lease: int, *, since: int, until: int, reason: str
    ) -> None:
        """The stream is away since then; known at `until`."""
        mark = StreamInterrupted(
            camera=self.camera,
            epoch=epoch,
            since=since,
            until=max(since, until),
            lease=lease,
            reason=reason,
        )
        await self._surely([self._mark(mark, epoch, "interrupted")])

    async def closed(self, epoch: int, lease: int, *, at: int, reason: str) -> None:
        """The stream is over."""
        mark = StreamClosed(
            camera=self.camera, epoch=epoch, closed_at=at, lease=lease, reason=reason
        )
        await self._surely([self._mark(mark, epoch, "closed")])

    async def alive(self, epoch: int, lease: int, beats: Sequence[int]) -> None:
        """Heartbeats."""
        await self._surely([self._beat(epoch, lease, at) for at in beats])

    async def frame(self, epoch: Epoch, at: int, picture: Picture, beats: Sequence[int]) -> bool:
        """A frame, after the heartbeats due before it. False: the log did not take it, it is dropped."""
        height, width = picture.pixels.shape[:2]
        event = FrameCaptured(
            camera=self.camera,
            epoch=epoch.number,
            seq=epoch.sent,
            captured_at=at,
            read_at=self._clock.now(),
            width=width,
            height=height,
            lease=epoch.lease,
            motion=picture.shown.motion,
        )
        bitmap = Bitmap(picture.pixels)
        name = f"{self.camera}-{epoch.number}-{epoch.sent}"
        envelopes = [self._beat(epoch.number, epoch.lease, beat) for beat in beats]
        said = self._publisher.mint(event, id=name, picture=bitmap)
        envelopes.append(said)
        try:
            await self._publisher.publish(envelopes)
        except Transient as error:
            _log.warning("frame_dropped", frame=name, reason=str(error))
            return False
        self._spans.tell(
            "capture", said.traceparent, None, min(at, event.read_at),
            kind="producer", vantage_camera=self.camera, vantage_event=name,
        )  # fmt: skip
        _log.debug("frame_said", camera=self.camera, correlation=name)
        return True

    def status(self, state: State, reason: str, **figures: int | float) -> Envelope:
        """The event of a state, to be put in the outbox or said directly."""
        return self._publisher.mint(
            CameraStatusChanged(
                camera=self.camera,
                state=state,
                reason=reason,
                changed_at=self._clock.now(),
                **figures,  # type: ignore[arg-type]  # fields of the event by name: int and float where it says so
            )
        )

    def _beat(self, epoch: int, lease: int, at: int) -> Envelope:
        mark = StreamAlive(camera=self.camera, epoch=epoch, alive_at=at, lease=lease)
        return self._mark(mark, epoch, f"alive-{at}")

    def _mark(self, mark: Event, epoch: int, name: str) -> Envelope:
        return self._publisher.mint(mark, id=f"{self.camera}-{epoch}-{name}", topic=FRAMES)

    async def _surely(self, envelopes: Sequence[Envelope]) -> None:
        """Marks are not dropped: without them what follows has no meaning."""
        while envelopes:
            try:
                await self._publisher.publish(envelopes)
            except Transient as error:
                _log.warning("mark_delayed", camera=self.camera, reason=str(error))
                await asyncio.sleep(AGAIN_S)
            else:
                return
