"""The report behind `/health` and `/ready`: every check of the process, bounded in time, and the worst of them."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from schemas.event import moment
from shared.security.redaction import scrub
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.clock import Clock
    from shared.metrics import Metrics
    from shared.service import Check

PATIENCE_S = 3.0
_RANK = {"healthy": 0, "degraded": 1, "unhealthy": 2}
_FIGURE = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}


class Checks:
    """All checks of a process: of what it depends on, and of each service."""

    def __init__(self, name: str, clock: Clock, metrics: Metrics) -> None:
        self.dependencies: dict[str, Check] = {}
        self.services: dict[str, dict[str, Check]] = {}
        self._name = name
        self.version = version("vantage")  # reads files: once
        self._clock = clock
        self._metrics = metrics

    async def report(self) -> dict[str, Any]:
        """The document of `/health`."""
        dependencies = await run_all(self.dependencies)
        services = {name: await run_all(checks) for name, checks in self.services.items()}
        for name, found in services.items():
            self._metrics.healthy.labels(name).set(_FIGURE[worst(found)])
        return {
            "status": worst({**dependencies, **_flat(services)}),
            "service": self._name,
            "version": self.version,
            "timestamp": moment(self._clock.now()).isoformat(),
            "details": {
                "dependencies": _lines(dependencies),
                "models": {
                    name: _line(found["model"])
                    for name, found in services.items()
                    if "model" in found
                },
                "services": {
                    name: {"status": worst(found), "checks": _lines(found)}
                    for name, found in services.items()
                },
            },
        }

    async def faults(self) -> dict[str, str]:
        """What is unhealthy now, with its reason."""
        found = await run_all(self.dependencies)
        for name, checks in self.services.items():
            for check, health in (await run_all(checks)).items():
                found[f"{name}.{check}"] = health
        return {
            name: scrub(health.reason)
            for name, health in found.items()
            if health.status == "unhealthy"
        }


async def run_all(checks: Mapping[str, Check]) -> dict[str, Health]:
    """Run checks side by side; one that raises or takes too long is unhealthy."""
    found = await asyncio.gather(
        *(_bounded(check) for check in checks.values()), return_exceptions=True
    )
    return {name: _health(answer) for name, answer in zip(checks, found, strict=True)}


async def _bounded(check: Check) -> Health:
    """The check begins with its task: one that is cancelled before leaves no coroutine behind."""
    return await asyncio.wait_for(check(), PATIENCE_S)


def worst(found: Mapping[str, Health]) -> str:
    """The worst status; healthy where there is no check."""
    return max(
        (health.status for health in found.values()), key=_RANK.__getitem__, default="healthy"
    )


def _health(answer: Health | BaseException) -> Health:
    if isinstance(answer, Health):
        return answer
    if isinstance(answer, TimeoutError):
        return Health(status="unhealthy", reason=f"no answer within {PATIENCE_S:g} s")
    return Health(status="unhealthy", reason=f"{type(answer).__name__}: {answer}")


def _flat(services: Mapping[str, Mapping[str, Health]]) -> dict[str, Health]:
    return {
        f"{name}.{check}": health
        for name, found in services.items()
        for check, health in found.items()
    }


def _lines(found: Mapping[str, Health]) -> dict[str, Any]:
    return {name: _line(health) for name, health in found.items()}


def _line(health: Health) -> dict[str, Any]:
    line: dict[str, Any] = {"status": health.status}
    if health.reason:
        line["reason"] = scrub(health.reason)
    if health.details:
        line["details"] = dict(health.details)
    return line
