"""The ways in that every process has: its health, whether it takes work, and what it serves."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from shared import telemetry
from shared.errors import VantageError
from shared.runtime.hands import Hands, consumer_routes
from shared.runtime.routes import walk
from shared.security.doors import PUBLIC, SignedIn, require
from shared.security.principal import Principal

if TYPE_CHECKING:
    from shared.runtime.assembly import Runtime

log = structlog.get_logger(component="process")
MayLog = Annotated[Principal, Depends(require("logs:write"))]


class LogLevel(BaseModel):
    """From which level on lines are written."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]


OWN = frozenset(
    {
        "/health",
        "/ready",
        "/ways",
        "/log-level",
        "/consumers",
        "/consumers/{name}/resume",
        "/consumers/{name}/rewind",
    }
)
"""What each process answers for itself; a gateway passes none of it on."""


def process_routes(runtime: "Runtime") -> APIRouter:
    """Routes of the process itself."""
    router = APIRouter(tags=["process"])
    router.include_router(consumer_routes(Hands(runtime.consumers, runtime.views)))
    _log_routes(router, runtime)

    @router.get("/health", dependencies=PUBLIC)
    async def health(request: Request) -> JSONResponse:
        """Whether this process and what it depends on are well; figures and names for known callers alone."""
        report = await runtime.checks.report()
        shown = report if await _known(request) else without_figures(report)
        return JSONResponse(shown, 503 if report["status"] == "unhealthy" else 200)

    @router.get("/ready", dependencies=PUBLIC)
    async def ready() -> JSONResponse:
        """Whether this process takes work now."""
        faults = await runtime.faults()
        return JSONResponse({"ready": not faults, "faults": faults}, 503 if faults else 200)

    @router.get("/ways", include_in_schema=False)
    async def ways(request: Request, _: SignedIn) -> dict[str, Any]:
        """What this process serves, for a gateway's table."""
        found = [entry for entry in walk(request.app.routes) if entry.path not in OWN]
        return {
            "ways": [
                {
                    "method": entry.method,
                    "path": entry.path,
                    "scope": entry.scope,
                    "public": entry.public,
                }
                for entry in found
            ],
            "openapi": request.app.openapi(),
        }

    return router


def _log_routes(router: APIRouter, runtime: "Runtime") -> None:
    @router.get("/log-level")
    async def log_level(_: MayLog) -> dict[str, Any]:
        """From which level on this process logs, and which services it runs."""
        return {"level": telemetry.level(), "services": runtime.services}

    @router.put("/log-level")
    async def set_log_level(wanted: LogLevel, who: MayLog) -> dict[str, Any]:
        """Log more or less, until the process is started again. The change itself stands in the log at any level."""
        before = telemetry.level()
        telemetry.set_level("INFO")
        log.info("log_level_changed", before=before, now=wanted.level, by=who.subject)
        telemetry.set_level(wanted.level)
        return {"level": telemetry.level(), "services": runtime.services}


async def _known(request: Request) -> bool:
    try:
        await request.app.state.guard.principal(request)
    except VantageError:
        return False
    return True


def without_figures(report: dict[str, Any]) -> dict[str, Any]:
    """The report without what single checks tell beside status and reason: names of cameras, counts."""
    details = report["details"]
    return {
        **report,
        "details": {
            "dependencies": _bare(details["dependencies"]),
            "models": _bare(details["models"]),
            "services": {
                name: {**service, "checks": _bare(service["checks"])}
                for name, service in details["services"].items()
            },
        },
    }


def _bare(lines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in line.items() if key != "details"}
        for name, line in lines.items()
    }
