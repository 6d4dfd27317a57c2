"""Routes of the history: facts by filter, in pages or as files; incidents with transitions and snapshots."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from services.vms.questions import AlertWindow, Cursors, IncidentWindow, Window
from services.vms.store import history
from services.vms.store.history import (
    ALERT_KIND,
    DETECTION_KIND,
    INCIDENT_KIND,
    TRACK_KIND,
    Kind,
    Place,
    Question,
    Shown,
)
from shared.blobs.port import Blobs
from shared.cells import csv_lines
from shared.clock import Clock
from shared.db.engine import Database
from shared.errors import NotFound
from shared.http import Problem
from shared.security.doors import require

EXPORT_PAGE = 1000
TrackId = Annotated[str, Path(max_length=128)]
IncidentId = Annotated[str, Path(max_length=64)]
Camera = Annotated[str, Query(min_length=1, max_length=64)]
EVENTS = [Depends(require("events:read"))]


@dataclass(frozen=True, kw_only=True)
class History:
    """Answers questions about facts."""

    database: Database
    blobs: Blobs
    clock: Clock
    cursors: Cursors
    snapshot_wait_s: float

    async def answer(self, kind: Kind, window: Window) -> Response:
        """A page, or all of it as a file."""
        question = window.question()
        if window.format is not None:
            return await self._export(kind, question, window.format)
        after = self.cursors.open(kind, question, window.cursor)
        async with self.database.read() as reader:
            items, on = await history.page(reader, kind, question, after=after, limit=window.limit)
            found: dict[str, Any] = {"items": items, "next": self.cursors.seal(kind, question, on)}
            if window.count:
                found["count"] = await history.count(reader, kind, question)
        return JSONResponse(found)

    async def track(self, id: str) -> Shown:
        """One track with its points.

        Raises:
            NotFound: there is none.
        """
        async with self.database.read() as reader:
            found = await history.track(reader, id)
        if found is None:
            raise NotFound(f"there is no track {id!r}")
        return found

    async def incident(self, id: str) -> Shown:
        """One incident with its transitions.

        Raises:
            NotFound: there is none.
        """
        async with self.database.read() as reader:
            found = await history.incident(reader, id)
        if found is None:
            raise NotFound(f"there is no incident {id!r}")
        return found

    async def snapshot(self, id: str) -> Response:
        """The picture that completed the match; while it is not there, whether it still comes."""
        async with self.database.read() as reader:
            place = await history.snapshot_place(reader, id)
        if place is None:
            raise NotFound(f"there is no incident {id!r}")
        key, known_since = place
        picture = await self.blobs.get(key) if key else None
        if picture is not None:
            return Response(
                picture,
                media_type="image/jpeg",
                headers={"Cache-Control": "private, max-age=3600, immutable"},
            )
        return _absent(self.clock.now() - known_since < self.snapshot_wait_s * 1_000_000)

    async def _export(self, kind: Kind, question: Question, format: str) -> Response:
        """All rows, page by page: no page holds a snapshot of the database while the client reads."""
        pages = self._pages(kind, question)
        first = await anext(pages)  # an error here is still an answer of its own
        as_csv = format == "csv"
        return StreamingResponse(
            _csv(kind, first, pages) if as_csv else _json(first, pages),
            media_type="text/csv; charset=utf-8" if as_csv else "application/json",
            headers={
                "Content-Disposition": f'attachment; filename="{kind.name}.{format}"',
                "Cache-Control": "private, no-store",
            },
        )

    async def _pages(self, kind: Kind, question: Question) -> AsyncIterator[list[Shown]]:
        after: Place | None = None
        while True:
            async with self.database.read() as reader:
                items, after = await history.page(
                    reader, kind, question, after=after, limit=EXPORT_PAGE
                )
            yield items
            if after is None:
                return


def history_routes(router: APIRouter, desk: History) -> None:
    """Add the routes of facts by filter."""

    @router.get("/detections", dependencies=EVENTS, tags=["history"])
    async def list_detections(window: Annotated[Window, Query()]) -> Response:
        """Detected objects, newest first."""
        return await desk.answer(DETECTION_KIND, window)

    @router.get("/tracks", dependencies=EVENTS, tags=["history"])
    async def list_tracks(window: Annotated[Window, Query()]) -> Response:
        """Tracks by the time of their first point, newest first; those that were there in the time asked for."""
        return await desk.answer(TRACK_KIND, window)

    @router.get("/incidents", dependencies=EVENTS, tags=["history"])
    async def list_incidents(window: Annotated[IncidentWindow, Query()]) -> Response:
        """Incidents, newest match first."""
        return await desk.answer(INCIDENT_KIND, window)

    @router.get("/alerts", dependencies=EVENTS, tags=["history"])
    async def list_alerts(window: Annotated[AlertWindow, Query()]) -> Response:
        """Alerts, newest match first."""
        return await desk.answer(ALERT_KIND, window)


def incident_routes(router: APIRouter, desk: History) -> None:
    """Add the routes of one track, one incident, and the cameras' states."""

    @router.get("/tracks/{track}", dependencies=EVENTS, tags=["history"])
    async def show_track(track: TrackId) -> dict[str, Any]:
        """One track with its points, in time."""
        return await desk.track(track)

    @router.get("/incidents/{incident}", dependencies=EVENTS, tags=["history"])
    async def show_incident(incident: IncidentId) -> dict[str, Any]:
        """One incident with its transitions."""
        return await desk.incident(incident)

    @router.get(
        "/incidents/{incident}/snapshot",
        dependencies=[Depends(require("media:read"))],
        tags=["history"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    async def show_snapshot(incident: IncidentId) -> Response:
        """The picture of an incident. A 404 says in `snapshot` whether it is `coming` or `missing`."""
        return await desk.snapshot(incident)

    @router.get("/camera-status", dependencies=[Depends(require("cameras:read"))], tags=["cameras"])
    async def list_statuses(camera: Annotated[list[Camera], Query()] = []) -> dict[str, Any]:  # noqa: B006 - FastAPI's way to say: none
        """The present state of every camera, or of those named."""
        async with desk.database.read() as reader:
            return {"items": await history.statuses(reader, camera)}


def _absent(coming: bool) -> Problem:
    if coming:
        detail = "the snapshot is coming; ask again in a second"
        headers = {"Retry-After": "1"}
        return Problem(404, "snapshot_coming", detail, headers=headers, snapshot="coming")
    detail = "the snapshot is missing: it was never written, or it has expired"
    return Problem(404, "snapshot_missing", detail, snapshot="missing")


async def _csv(
    kind: Kind, first: list[Shown], rest: AsyncIterator[list[Shown]]
) -> AsyncIterator[bytes]:
    yield csv_lines(kind.columns, [{name: name for name in kind.columns}])
    yield csv_lines(kind.columns, first)
    async for items in rest:
        yield csv_lines(kind.columns, items)


async def _json(first: list[Shown], rest: AsyncIterator[list[Shown]]) -> AsyncIterator[bytes]:
    """One array, an element a line."""
    yield b"["
    yield b",\n".join(map(msgspec.json.encode, first))
    async for items in rest:
        yield b",\n" + b",\n".join(map(msgspec.json.encode, items))
    yield b"]\n"
