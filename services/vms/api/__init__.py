"""The routes of the video management service."""

from fastapi import APIRouter

from services.vms.api.cameras import camera_routes, site_routes
from services.vms.api.history import History, history_routes, incident_routes
from services.vms.cameras import Cameras


def make_router(cameras: Cameras, history: History) -> APIRouter:
    """All routes of the service."""
    router = APIRouter(prefix="/api/v1")
    camera_routes(router, cameras)
    site_routes(router, cameras)
    history_routes(router, history)
    incident_routes(router, history)
    return router
