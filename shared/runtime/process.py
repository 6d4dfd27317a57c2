"""The ways in that every process has: its health, whether it takes work, and what it serves."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared.runtime.routes import walk
from shared.security.doors import PUBLIC, SignedIn

if TYPE_CHECKING:
    from shared.runtime.assembly import Runtime

OWN = frozenset({"/health", "/ready", "/ways"})
"""What each process answers for itself; a gateway passes none of it on."""


def process_routes(runtime: "Runtime") -> APIRouter:
    """Routes of the process itself."""
    router = APIRouter(tags=["process"])

    @router.get("/health", dependencies=PUBLIC)
    async def health() -> JSONResponse:
        """Whether this process and what it depends on are well."""
        report = await runtime.checks.report()
        return JSONResponse(report, 503 if report["status"] == "unhealthy" else 200)

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
