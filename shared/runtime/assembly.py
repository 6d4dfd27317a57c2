"""Joins services and platform: one app, one lifespan; the two ways to run differ only in the list of services."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from schemas import topics
from shared.clock import SystemClock
from shared.http import Application
from shared.metrics import BusObserver, Metrics
from shared.peers import Peers
from shared.platform import Platform, ServicePlatform, open_platform, open_service
from shared.runtime.consumers import Consumer, watch
from shared.runtime.disk import Disk
from shared.runtime.gauges import Gauges
from shared.runtime.health import Checks
from shared.runtime.onlog import OnLog
from shared.runtime.process import process_routes
from shared.runtime.routes import check_doors
from shared.settings import Configuration
from shared.supervisor import Supervisor
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from typing import Any

    from shared.bus.port import Subscription
    from shared.clock import Clock
    from shared.db.relay import Relay
    from shared.service import Running, Service
    from shared.settings import PlatformSettings

DRAIN_S = 4.0  # for consumers to finish what is in flight
STEP_S = 2.0  # for each other step of the drain
TRACED = frozenset({topics.INCIDENTS, topics.ALERTS, topics.DELIVERIES})
"""Low-rate facts: each that is handled is a span of its own. What frames lead to, their stages tell themselves."""
log = structlog.get_logger(component="runtime")


class Runtime:
    """The services of one process, from their start to their drain."""

    def __init__(
        self,
        services: Sequence[Service],
        settings: PlatformSettings,
        configuration: Configuration,
        clock: Clock,
        *,
        works: bool = True,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics(clock)
        self.traces = Traces(settings.trace_ratio)
        self.ready = False
        self._services = services
        self._configuration = configuration
        self.clock = clock
        self._observer = BusObserver(self.metrics)
        self.name = services[0].name if len(services) == 1 else "vantage"
        self.checks = Checks(self.name, clock, self.metrics)
        self.checks.dependencies["disk"] = Disk(settings.data_dir).check
        self._supervisor = Supervisor(clock, self.metrics.task_restarts)
        self.consumers: dict[str, Consumer] = {}
        self.views: dict[str, ServicePlatform] = {}  # by consumer: whose it is
        self._relays: dict[str, Relay] = {}
        self._running: dict[str, Running] = {}
        self._drained = False
        self._works = works
        self._gauges = Gauges(
            self.metrics,
            self.checks,
            folder=settings.data_dir,
            consumers=self.consumers,
            relays=self._relays,
        )
        self.metrics.build.labels(self.checks.version).set(1)

    @asynccontextmanager
    async def lifespan(self, app: Application) -> AsyncIterator[None]:
        """Open the platform, start every service, run their work; drain at the end."""
        peers = Peers(self.settings, self.clock)
        peers.serve(frozenset(service.name for service in self._services), app)
        async with AsyncExitStack() as stack:
            platform = await stack.enter_async_context(
                open_platform(self.settings, self.metrics, self.clock, peers, self.traces)
            )
            self.checks.dependencies["cache"] = platform.cache.check
            self.checks.dependencies["blobs"] = platform.blobs.check
            self.checks.dependencies["log"] = platform.log.check
            if platform.keys is None:
                self.checks.dependencies["gateway"] = peers.check
            app.state.guard = platform.guard
            app.state.runtime = self
            app.state.notices = platform.notices
            stack.push_async_callback(self._supervisor.stop)
            app.include_router(process_routes(self))
            for service in self._services:
                await self._start(service, platform, app, stack)
            for running in self._running.values():
                if running.fallback is not None:
                    app.include_router(running.fallback)
            check_doors(app.routes)
            if self._works:
                self._supervise()
            stack.push_async_callback(self.drain)
            self.ready = True
            yield

    async def drain(self) -> None:
        """Stop taking in, finish what is in flight, move the outboxes to the log. A second call does nothing."""
        self.ready = False
        if self._drained:
            return
        self._drained = True
        drains = {name: one.drain() for name, one in self._running.items() if one.drain}
        await self._each("service", drains, STEP_S)
        consumers = {name: one.drain(DRAIN_S) for name, one in self.consumers.items()}
        await self._each("consumer", consumers, DRAIN_S + 1)
        await self._supervisor.stop(patience=STEP_S)
        flushes = {name: relay.flush() for name, relay in self._relays.items()}
        await self._each("relay", flushes, STEP_S)

    @property
    def services(self) -> list[str]:
        """The names of what runs here."""
        return [service.name for service in self._services]

    async def faults(self) -> dict[str, str]:
        """Why this process is not ready; empty when it is."""
        if not self.ready:
            return {"runtime": "starting" if not self._drained else "draining"}
        behind = {
            name: "reading its table" for name, one in self.consumers.items() if not one.caught_up
        }
        return {**behind, **await self.checks.faults()}

    async def _start(
        self, service: Service, platform: Platform, app: Application, stack: AsyncExitStack
    ) -> None:
        view = await stack.enter_async_context(open_service(platform, service))
        settings = self._configuration.service(service.name, service.settings)
        running = await stack.enter_async_context(service.start(view, settings))
        self._running[service.name] = running
        if running.router is not None:
            app.include_router(running.router)
        self.checks.services[service.name] = dict(running.checks)
        if view.found is not None:
            self._relay(service, view)
        for number, subscription in enumerate(running.subscriptions):
            self._consume(service, view, subscription, number)

    def _relay(self, service: Service, view: ServicePlatform) -> None:
        from shared.db.relay import Relay

        relay = Relay(
            view.database,
            view.publisher,
            owner=view.instance,
            clock=view.clock,
            said=OnLog(self.metrics, view.spans, view.clock),
        )
        self._relays[f"{service.name}.relay"] = relay
        self._gauges.databases[service.name] = view.database
        self.checks.dependencies[f"{service.name}.database"] = view.database.check
        self.checks.services[service.name]["outbox"] = relay.check

    def _consume(
        self, service: Service, view: ServicePlatform, subscription: Subscription, number: int
    ) -> None:
        from shared.bus.engine import Engine

        if subscription.kind == "group" and TRACED.issuperset(subscription.topics):
            handler = view.spans.handling(subscription.handler)
            subscription = dataclasses.replace(subscription, handler=handler)

        def make() -> Engine:
            return Engine(
                view.log,
                subscription,
                service=service.name,
                member=view.instance,
                publisher_log=view.log,
                clock=view.clock,
                observe=self._observer,
            )

        name = f"{service.name}.{subscription.group}.{number}"
        consumer = Consumer(name, subscription, make, view.clock)
        self.consumers[name] = consumer
        self.views[name] = view
        self.checks.services[service.name][f"consumer.{subscription.group}.{number}"] = (
            consumer.check
        )

    def _supervise(self) -> None:
        """Start the work only when every service has started: nobody hears half a house."""
        for name, relay in self._relays.items():
            self._supervisor.start(name, relay.run)
        for name, consumer in self.consumers.items():
            self._supervisor.start(name, consumer.run)
        for service, running in self._running.items():
            for name, job in running.jobs.items():
                self._supervisor.start(f"{service}.{name}", job)
        self._supervisor.start("watchdog", lambda: watch(self.consumers, self._supervisor))
        self._supervisor.start("gauges", self._gauges.keep)
        self.checks.dependencies["supervisor"] = self._supervisor.check

    async def _each(self, kind: str, steps: Mapping[str, Awaitable[Any]], patience: float) -> None:
        """Do these steps of the drain side by side; one that fails or is late holds up none of the others."""
        found = await asyncio.gather(
            *(asyncio.wait_for(step, patience) for step in steps.values()), return_exceptions=True
        )
        for name, answer in zip(steps, found, strict=True):
            if isinstance(answer, BaseException):
                log.error("drain_step_failed", kind=kind, name=name, reason=repr(answer))


def application(
    services: Sequence[Service],
    settings: PlatformSettings,
    *,
    configuration: Configuration | None = None,
    clock: Clock | None = None,
    works: bool = True,
) -> Application:
    """One app of one or many services; its lifespan opens the platform and starts them.

    works: False serves calls alone, without consumers and jobs; what a call says is on the log at the end.

    Raises (in the lifespan):
        Setup: an adapter, a database or a service cannot be opened as it is set up.
    """
    runtime = Runtime(
        services,
        settings,
        configuration or Configuration.read(),
        clock or SystemClock(),
        works=works,
    )
    title = "Vantage" if len(services) != 1 else f"Vantage {services[0].name}"
    return Application(
        runtime.metrics,
        body_limit=settings.body_limit,
        spans=runtime.traces.of(runtime.name, runtime.clock),
        title=title,
        lifespan=runtime.lifespan,
    )
