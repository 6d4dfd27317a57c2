"""How the orchestrator starts: its objects, made by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from schemas import topics
from services.orchestrator import store
from services.orchestrator.api import make_router
from services.orchestrator.handlers import (
    GROUP,
    CameraHandler,
    DetectionHandler,
    PlanHandler,
    PredicateHandler,
    RuleHandler,
    tell,
)
from services.orchestrator.incidents import Incidents
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.rules import Rules
from services.orchestrator.settings import OrchestratorSettings
from shared.bus.port import Subscription
from shared.db.checkpoints import Checkpoints
from shared.service import Health, Running, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemas.event import Topic
    from services.orchestrator.handlers import StageHandler
    from shared.bus.port import Handler
    from shared.db.engine import Database
    from shared.platform import ServicePlatform


@asynccontextmanager
async def start(
    platform: ServicePlatform, settings: OrchestratorSettings
) -> AsyncIterator[Running]:
    """Remember all versions of cameras and rules, then follow the detections from the stored position."""
    database, publisher, clock = platform.database, platform.publisher, platform.clock
    knowledge = await remember(database)
    checkpoints = Checkpoints(database)
    stages = [
        kind(
            database,
            checkpoints,
            publisher,
            clock,
            knowledge=knowledge,
            metrics=platform.metrics,
            spans=platform.spans,
            interval_s=settings.checkpoint_s,
        )
        for kind in (DetectionHandler, PredicateHandler)
    ]
    incidents = Incidents(database, publisher, clock, platform.metrics)

    async def expiry() -> None:
        await incidents.keep_expiring(settings.expire_days, settings.expire_every_s)

    yield Running(
        router=make_router(Rules(database, publisher, clock, knowledge), incidents, clock),
        subscriptions=[
            *(
                _stage(topic, checkpoints, stage)
                for topic, stage in zip((topics.DETECTIONS, topics.PREDICATES), stages, strict=True)
            ),
            _table(topics.CAMERAS, CameraHandler(database, knowledge)),
            _plans(PlanHandler(database, publisher)),
            _table(topics.RULES, RuleHandler(database, knowledge)),
        ],
        jobs={"expiry": expiry},
        checks={"rules": partial(_check_rules, knowledge)},
    )


async def _check_rules(knowledge: Knowledge) -> Health:
    if knowledge.broken:
        names = ", ".join(sorted(knowledge.broken))
        return Health(status="degraded", reason=f"rules that cannot be read: {names}")
    return Health(status="healthy")


def _stage(topic: Topic, positions: Checkpoints, stage: StageHandler[Any]) -> Subscription:
    """Partitions are shared; the state of each moves with it."""
    return Subscription(
        topics=(topic,), group=stage.group, handler=stage, positions=positions, owner=stage
    )


def _table(topic: Topic, handler: Handler) -> Subscription:
    """Every process of ours keeps the whole table."""
    return Subscription(
        topics=(topic,), group=f"{GROUP}-{topic.name}", kind="table", handler=handler
    )


def _plans(handler: Handler) -> Subscription:
    """One process of ours says a camera's plan."""
    return Subscription(topics=(topics.CAMERAS,), group=f"{GROUP}-plans", handler=handler)


async def remember(database: Database) -> Knowledge:
    """Every version of every camera and rule that the database holds."""
    knowledge = Knowledge()
    async with database.read() as reader:
        for camera in await store.known_cameras(reader):
            knowledge.configure(camera)
        for row in await store.rule_history(reader):
            tell(knowledge, row)
    return knowledge


SERVICE = Service(
    name="orchestrator",
    port=8002,
    settings=OrchestratorSettings,
    start=start,
    consumes=(topics.DETECTIONS, topics.PREDICATES, topics.CAMERAS, topics.RULES),
    produces=(
        topics.PLANS,
        topics.TRACKS,
        topics.TRACKS_LIVE,
        topics.PREDICATES,
        topics.RULES,
        topics.INCIDENTS,
        topics.ALERTS,
        topics.AUDIT,
    ),
    migrations="services.orchestrator.migrations",
    description="Says what is looked for, tracks, evaluates rules, and takes incidents through their states.",
)
