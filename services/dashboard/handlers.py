"""Events in, messages to the viewers out. All by `tail`: a page that opens late shows what is, not what was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from schemas.events.camera_configured import CameraConfigured
from schemas.events.frame_captured import FrameCaptured
from services.dashboard.domain import message, picture, shown

if TYPE_CHECKING:
    from services.dashboard.hub import Hub
    from shared.bus.port import Batch


class Pictures:
    """Frames become pictures on the wire, for cameras that somebody watches."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, batch: Batch) -> None:
        """Show the newest frame of each camera in the batch; older ones are of no use any more."""
        newest = {
            envelope.event.camera: envelope
            for envelope in batch.envelopes
            if isinstance(envelope.event, FrameCaptured) and self._hub.wanted(envelope.event.camera)
        }
        for camera, envelope in newest.items():
            frame, image = envelope.event, envelope.picture
            if isinstance(frame, FrameCaptured) and image is not None:
                jpeg = await asyncio.to_thread(image.jpeg)
                self._hub.show(camera, picture(frame, jpeg))


class Happenings:
    """Tracks, incidents, alerts, deliveries and camera states become messages."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, batch: Batch) -> None:
        """Tell all viewers, in order."""
        events = [envelope.event for envelope in batch.envelopes if envelope.event is not None]
        self._hub.tell(told for event in events if (told := message(event)) is not None)


class Cameras:
    """The camera documents, for names, zones and lines."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, batch: Batch) -> None:
        """Follow the topic `cameras`."""
        for envelope in batch.envelopes:
            event = envelope.event
            known = shown(event) if isinstance(event, CameraConfigured) else None
            self._hub.configured(envelope.key, known)
