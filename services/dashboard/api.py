"""The console's page, its files, and the live WebSocket."""

from __future__ import annotations

import asyncio
import mimetypes
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

import jinja2
import msgspec
from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, Response

from shared.errors import NotFound, Unavailable
from shared.security.doors import PUBLIC, SignedIn, require_ws
from shared.security.principal import Principal

if TYPE_CHECKING:
    from services.dashboard.hub import Hub, Viewer
    from shared.security.guard import Guard

MayWatch = Annotated[Principal, Depends(require_ws("media:read"))]
POLICY = 1008  # close codes of RFC 6455
TRY_LATER = 1013
ASK_LIMIT = 16_384  # bytes of one message from a browser


class Watch(msgspec.Struct, tag_field="type", tag="watch"):
    """The cameras whose pictures a page wants; null: all."""

    cameras: list[str] | None = None


class Live:
    """Serves open pages until they leave, are too slow, or may look no more."""

    def __init__(self, hub: Hub, guard: Guard, recheck: float) -> None:
        self._hub = hub
        self._guard = guard
        self._recheck = recheck

    async def serve(self, socket: WebSocket, principal: Principal) -> None:
        """One page, from hello to its end."""
        viewer = self._hub.join()
        await socket.accept()
        if viewer is None:
            await socket.close(TRY_LATER, "too many live views are open; close one")
            return
        duties = [
            asyncio.create_task(self._send(socket, viewer)),
            asyncio.create_task(self._hear(socket, viewer)),
            asyncio.create_task(self._check(socket, principal)),
        ]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(viewer)
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        for duty in done:
            _raise_unless_gone(duty)

    async def _send(self, socket: WebSocket, viewer: Viewer) -> None:
        while not viewer.too_slow:
            for item in await viewer.next():
                if isinstance(item, bytes):
                    await socket.send_bytes(item)
                else:
                    await socket.send_text(item)
        await socket.close(TRY_LATER, "this page does not keep up; it will reconnect")

    async def _hear(self, socket: WebSocket, viewer: Viewer) -> None:
        while True:
            text = await socket.receive_text()
            try:
                wish = msgspec.json.decode(text[:ASK_LIMIT], type=Watch)
            except msgspec.DecodeError:
                await socket.close(POLICY, 'expected {"type": "watch", "cameras": [...]}')
                return
            viewer.watched = None if wish.cameras is None else frozenset(wish.cameras)

    async def _check(self, socket: WebSocket, principal: Principal) -> None:
        try:
            while await self._guard.alive(principal):  # noqa: ASYNC110 - nothing tells of a revocation
                await asyncio.sleep(self._recheck)
        except Unavailable:
            await socket.close(TRY_LATER, "nobody can tell now whether you are still signed in")
            return
        await socket.close(POLICY, "signed out")


def make_router(live: Live) -> APIRouter:
    """All routes of the dashboard."""
    router = APIRouter(tags=["console"])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("services.dashboard", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
    )
    page = environment.get_template("console.html")

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def console(principal: SignedIn) -> HTMLResponse:
        return HTMLResponse(page.render(name=principal.name), headers={"Cache-Control": "no-store"})

    @router.get("/console/{name}", dependencies=PUBLIC, include_in_schema=False)
    async def static(name: str) -> Response:
        return static_file(name)

    @router.websocket("/api/v1/live")
    async def watch(socket: WebSocket, principal: MayWatch) -> None:
        await live.serve(socket, principal)

    return router


def static_file(name: str) -> Response:
    """A file of the console, from the package itself.

    Raises:
        NotFound: there is none of this name.
    """
    folder = files("services.dashboard") / "static"
    known: dict[str, Any] = {file.name: file for file in folder.iterdir()}
    if name not in known:
        raise NotFound(f"there is no file {name!r}")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(
        known[name].read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"}
    )


def _raise_unless_gone(duty: asyncio.Task[None]) -> None:
    """A page that leaves is no error; anything else is."""
    error = None if duty.cancelled() else duty.exception()
    if error is not None and not isinstance(error, WebSocketDisconnect | RuntimeError):
        raise error
