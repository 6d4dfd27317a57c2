"""Ingest over HTTP: trying out what a URL shows before it becomes a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.security.camera_login import CameraLogin
from shared.security.doors import require

if TYPE_CHECKING:
    from services.ingest.probes import Probes


class NewProbe(BaseModel):
    """What to try. The answer never repeats user or password."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=2048)]
    username: Annotated[str, Field(max_length=128)] = ""
    password: Annotated[SecretStr, Field(max_length=128)] = SecretStr("")


def make_router(probes: Probes) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["probes"])

    @router.post("/api/v1/probes", dependencies=[Depends(require("probes:write"))])
    async def probe(body: NewProbe) -> dict[str, Any]:
        """Open a URL as a camera's reader would: codec, size, rate and a thumbnail, or why it cannot be read."""
        login = None
        if body.username:
            login = CameraLogin(username=body.username, password=body.password.get_secret_value())
        return dict(msgspec.structs.asdict(await probes.probe(body.url, login)))

    return router
