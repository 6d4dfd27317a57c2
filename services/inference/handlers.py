"""Events in, effects out: frames to their lanes, plans to the stage, incidents to their snapshots."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from schemas.events.incident_changes import IncidentOpened
from schemas.events.plan_decided import PlanDecided
from schemas.events.stream_marks import StreamClosed, StreamInterrupted, StreamOpened
from shared.errors import Invalid

if TYPE_CHECKING:
    from schemas.event import Envelope
    from schemas.events.detections_made import Detection
    from services.inference.detectors import Detectors
    from services.inference.lanes import Lane, Lanes
    from services.inference.look import Look
    from services.inference.pool import Pools
    from services.inference.snapshots import Kept, Rings
    from shared.blobs.port import Blobs
    from shared.bus.port import Batch, Partition
    from shared.metrics import Metrics

GROUP = "inference"
log = structlog.get_logger(component="inference")


class FrameHandler:
    """`frames`: every event goes to its camera's lane at once, so that no camera waits for another.

    Frames and heartbeats may be lost. The marks that open, interrupt or close a stream may not: until they were said
    on, nothing after them is committed, so that they come again after a crash.
    """

    def __init__(self, lanes: Lanes, rings: Rings) -> None:
        self._lanes = lanes
        self._rings = rings
        self._unsaid: dict[Partition, set[int]] = {}

    async def __call__(self, batch: Batch) -> None:
        """Hand the events over; waits only where far too many marks of one camera wait already."""
        for envelope in batch.envelopes:
            lane = self._lanes.lane(envelope.key, batch.partition)
            if isinstance(envelope.event, StreamOpened | StreamInterrupted | StreamClosed):
                await lane.until_roomy()
                self._expect(lane, envelope, batch.partition)
            lane.offer(envelope)

    def unfinished(self, partition: Partition) -> int | None:
        """The offset of the oldest mark that was not said on yet."""
        return min(self._unsaid.get(partition, ()), default=None)

    def _expect(self, lane: Lane, envelope: Envelope, partition: Partition) -> None:
        unsaid = self._unsaid.setdefault(partition, set())
        unsaid.add(envelope.offset)
        lane.ask(envelope).add_done_callback(lambda _: unsaid.discard(envelope.offset))

    async def assigned(self, partition: Partition) -> None:
        """Begin anew with the partition's cameras: each is looked at in full first."""
        self._lanes.drop(partition)
        self._unsaid.pop(partition, None)

    async def revoked(self, partition: Partition) -> None:
        """Say what is being looked at, then forget the partition's cameras; what stays unsaid is not committed."""
        await self._lanes.finish(partition)
        for camera in self._lanes.drop(partition):
            self._rings.drop(camera)


class PlanHandler:
    """`plans`: what is looked for, by camera; a plan's model is loaded before the first frame asks for it."""

    def __init__(self, detectors: Detectors) -> None:
        self._detectors = detectors
        self.plans: dict[str, PlanDecided] = {}

    async def __call__(self, batch: Batch) -> None:
        """Take plans over; a tombstone stops looking."""
        for envelope in batch.envelopes:
            if isinstance(envelope.event, PlanDecided):
                self.plans[envelope.key] = envelope.event
                self._detectors.want(envelope.event)
            else:
                self.plans.pop(envelope.key, None)


class SnapshotHandler:
    """Keeps the pictures that were looked at, and on `incidents` writes the one that was decided on to its place."""

    def __init__(self, rings: Rings, pools: Pools, blobs: Blobs, metrics: Metrics) -> None:
        self._rings = rings
        self._pools = pools
        self._blobs = blobs
        self._metrics = metrics
        self._packing: set[asyncio.Task[None]] = set()

    async def look(self, look: Look) -> list[Detection]:
        """Look, and keep what was looked at."""
        found = await self._pools.of(look.detector).look(look)
        if look.envelope.picture is not None:
            kept = self._rings.keep(look.event, look.envelope.picture)
            task = asyncio.get_running_loop().create_task(self._pack(kept))
            self._packing.add(task)
            task.add_done_callback(self._packing.discard)
        return found

    async def __call__(self, batch: Batch) -> None:
        """Write the snapshots of incidents that people will see."""
        for envelope in batch.envelopes:
            event = envelope.event
            if isinstance(event, IncidentOpened) and not event.suppressed:
                await self._write(event, envelope.correlation)

    async def _write(self, event: IncidentOpened, correlation: str | None) -> None:
        if not self._rings.holds(event.camera) or await self._blobs.stat(event.snapshot):
            return
        picture = self._rings.nearest(event.camera, event.epoch, event.seq, event.matched_at)
        if picture is None:
            self._metrics.snapshots.labels("missing").inc()
            log.warning(
                "snapshot_missing",
                camera=event.camera,
                incident=event.incident,
                correlation=correlation,
            )
            return
        jpeg = await asyncio.to_thread(picture.jpeg)
        await self._blobs.put(event.snapshot, jpeg, "image/jpeg")
        self._metrics.snapshots.labels("written").inc()
        log.info("snapshot_written", incident=event.incident, correlation=correlation)

    async def _pack(self, kept: Kept) -> None:
        """Make the JPEG beside the looking: pixels are a hundred times as large."""
        try:
            jpeg = await asyncio.to_thread(kept.picture.jpeg)
        except Invalid as error:
            log.warning("picture_not_kept", reason=str(error))
            return
        self._rings.pack(kept, jpeg)
