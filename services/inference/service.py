"""How inference starts: its objects, made by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from schemas import topics
from services.inference.backends.port import Options
from services.inference.detectors import Detectors
from services.inference.handlers import GROUP, FrameHandler, PlanHandler, SnapshotHandler
from services.inference.lanes import Lanes
from services.inference.outlet import Outlet
from services.inference.pool import Pools
from services.inference.settings import InferenceSettings
from services.inference.snapshots import Rings
from services.inference.stage import DetectStage
from shared.bus.port import Subscription
from shared.service import Health, Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.platform import ServicePlatform


@asynccontextmanager
async def start(platform: ServicePlatform, settings: InferenceSettings) -> AsyncIterator[Running]:
    """Wire frames to detectors and incidents to their snapshots."""
    detectors = Detectors(
        options(settings), platform.clock, default=settings.model, backend=settings.backend
    )
    detectors.want_default()
    plans = PlanHandler(detectors)
    pools = Pools(platform.clock, platform.metrics)
    rings = Rings(seconds=settings.snapshot_seconds, limit=settings.snapshot_memory)
    snapshots = SnapshotHandler(rings, pools, platform.blobs, platform.metrics)
    stage = DetectStage(
        plan_of=plans.plans.get,
        detector_of=detectors.detector_of,
        source=f"/vantage/inference/{platform.instance}",
    )
    outlet = Outlet(platform.publisher)
    lanes = Lanes(
        stage, snapshots.look, outlet, platform.clock,
        metrics=platform.metrics, spans=platform.spans, max_age=settings.max_age,
    )  # fmt: skip
    frames = FrameHandler(lanes, rings)
    platform.metrics.models.ask(lambda: [(labels, 1.0) for labels in detectors.loaded()])
    platform.metrics.inference_queue.ask(
        lambda: [(("lanes",), lanes.waiting), (("outlet",), outlet.waiting)]
    )

    async def model() -> Health:
        return detectors.health(plans.plans)

    async def looking() -> Health:
        return lanes.health()

    try:
        yield Running(
            subscriptions=_subscriptions(frames, plans, snapshots),
            jobs={"lanes": lanes.run, "outlet": outlet.run, "models": detectors.run},
            checks={"model": model, "looking": looking},
        )
    finally:
        pools.close()


def _subscriptions(
    frames: FrameHandler, plans: PlanHandler, snapshots: SnapshotHandler
) -> list[Subscription]:
    return [
        Subscription(
            topics=(topics.FRAMES,),
            group=GROUP,
            handler=frames,
            owner=frames,
            unfinished=frames.unfinished,
        ),
        Subscription(topics=(topics.PLANS,), group=f"{GROUP}-plans", kind="table", handler=plans),
        Subscription(
            topics=(topics.INCIDENTS,), group=f"{GROUP}-snapshots", kind="tail", handler=snapshots
        ),
    ]


def options(settings: InferenceSettings) -> Options:
    """How models are run."""
    return Options(
        providers=settings.providers,
        threads=settings.threads,
        parallel=settings.parallel,
        batch=settings.batch,
    )


SERVICE = Service(
    name="inference",
    port=8005,
    settings=InferenceSettings,
    consumes=(topics.FRAMES, topics.PLANS, topics.INCIDENTS),
    produces=(topics.DETECTIONS, topics.AUDIT),
    start=start,
    description="Looks at frames with a detection model and says what it saw, one event a frame.",
)
