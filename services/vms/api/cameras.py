"""Routes of the site and its cameras."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Response

from services.vms.bodies import CameraChange, NewCamera, SiteChange
from services.vms.cameras import Cameras, shown
from services.vms.domain import Camera
from shared.security.doors import require

CameraId = Annotated[str, Path(max_length=64)]
READ = [Depends(require("cameras:read"))]
WRITE = [Depends(require("cameras:write"))]


def camera_routes(router: APIRouter, desk: Cameras) -> None:
    """Add the routes of cameras."""

    @router.get("/cameras", dependencies=READ, tags=["cameras"])
    async def list_cameras() -> dict[str, Any]:
        """All cameras by name."""
        site = await desk.site()
        return {"items": [shown(camera, site) for camera in await desk.all()]}

    @router.post("/cameras", status_code=201, dependencies=WRITE, tags=["cameras"])
    async def add_camera(body: NewCamera, response: Response) -> dict[str, Any]:
        """Add a camera. It is looked at as soon as an ingest process takes it; rules make it alert.

        `warnings` in the answer names other cameras that are the same device.
        """
        camera = await desk.add(body)
        response.headers["Location"] = f"/api/v1/cameras/{camera.id}"
        return await _told(desk, camera)

    @router.get("/cameras/{camera}", dependencies=READ, tags=["cameras"])
    async def show_camera(camera: CameraId) -> dict[str, Any]:
        """One camera."""
        return shown(await desk.one(camera), await desk.site())

    @router.patch("/cameras/{camera}", dependencies=WRITE, tags=["cameras"])
    async def change_camera(camera: CameraId, body: CameraChange) -> dict[str, Any]:
        """Change what is given; the rest stays. In effect two seconds later. `warnings`: as when it is added."""
        changed = await desk.change(camera, body)
        return await _told(desk, changed) if body.url else shown(changed, await desk.site())

    @router.delete("/cameras/{camera}", status_code=204, dependencies=WRITE, tags=["cameras"])
    async def remove_camera(camera: CameraId) -> Response:
        """Remove a camera; its history stays until it expires."""
        await desk.remove(camera)
        return Response(status_code=204)


async def _told(desk: Cameras, camera: Camera) -> dict[str, Any]:
    """A camera whose URL was given, with what there is to warn of."""
    answer = shown(camera, await desk.site())
    found = await desk.warnings(camera)
    return {**answer, "warnings": found} if found else answer


def site_routes(router: APIRouter, desk: Cameras) -> None:
    """Add the routes of the site."""

    @router.get("/site", dependencies=READ, tags=["site"])
    async def show_site() -> dict[str, Any]:
        """The site and its time zone."""
        return dict(msgspec.to_builtins(await desk.site()))

    @router.patch("/site", dependencies=WRITE, tags=["site"])
    async def change_site(body: SiteChange) -> dict[str, Any]:
        """Change the site's name or time zone."""
        return dict(msgspec.to_builtins(await desk.change_site(body)))
