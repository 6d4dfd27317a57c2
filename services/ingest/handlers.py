"""What ingest does when camera documents change: starts, stops and re-opens streams, and only those that changed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from schemas.events.camera_configured import CameraConfigured
from services.ingest.domain import adjusts, reopens
from services.ingest.streams import Stream
from shared.errors import Transient, Unavailable
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.ingest.store import Mark
    from services.ingest.streams import Studio
    from shared.bus.port import Batch

SETTLE_S = 0.05
"""A replayed table brings old documents right before the newer ones: wait for those."""
AGAIN_S = 5.0
FIGURES_S = 10.0
UNWELL = ("retrying", "offline", "auth_failed", "error")

_log = structlog.get_logger()


class Cameras:
    """The streams of all cameras that this process knows of. Handler of the `cameras` table."""

    def __init__(self) -> None:
        self._documents: dict[str, CameraConfigured] = {}
        self._streams: dict[str, Stream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def __call__(self, batch: Batch) -> None:
        """Take documents and tombstones in."""
        for envelope in batch.envelopes:
            if isinstance(envelope.event, CameraConfigured):
                self._documents[envelope.key] = envelope.event
            elif envelope.event is None:
                self._documents.pop(envelope.key, None)
        self._changed.set()

    def marks(self) -> Sequence[Mark]:
        """How far all open streams have come."""
        return [mark for stream in self._streams.values() if (mark := stream.mark)]

    def last_marks(self) -> Sequence[Mark]:
        """How far the streams had come when they were stopped."""
        return [mark for stream in self._streams.values() if (mark := stream.last_mark)]

    def configured(self) -> Mapping[str, bool]:
        """Every camera, and whether it is to be read."""
        return {name: stream.document.enabled for name, stream in self._streams.items()}

    def stream(self, camera: str) -> Stream | None:
        """The stream of a camera, where this process has one."""
        return self._streams.get(camera)

    async def check(self) -> Health:
        """The states of all cameras that this process holds; for `/health`."""
        held = sorted((name, one) for name, one in self._streams.items() if one.held)
        states = {name: stream.state for name, stream in held}
        unwell = [name for name, state in states.items() if state in UNWELL]
        return Health(
            status="degraded" if unwell else "healthy",
            reason=f"no picture from {', '.join(unwell)}" if unwell else "",
            details={"cameras": states},
        )

    async def follow(self, studio: Studio) -> None:
        """Bring streams in line with the documents, whenever these change: the job of this class."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            try:
                await self._settle(studio)
            except (Unavailable, Transient) as error:
                _log.warning("cameras_not_settled", reason=str(error))
                self._changed.set()
                await asyncio.sleep(AGAIN_S)

    async def tell(self, studio: Studio) -> None:
        """Say every stream's figures each ten seconds: a job."""
        while True:
            await asyncio.sleep(FIGURES_S)
            told = [stream.figures(FIGURES_S) for stream in self._streams.values()]
            # Figures are only worth something now: the next ones are on their way.
            with contextlib.suppress(Transient):
                await studio.publisher.publish([envelope for envelope in told if envelope])

    async def stop(self) -> None:
        """Stop reading; nothing is said, whoever reads next says how long it took."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _settle(self, studio: Studio) -> None:
        for camera in [*self._streams.keys() - self._documents.keys()]:
            await self._close(camera, studio, "the camera was removed")
        for document in list(self._documents.values()):
            await self._bring_in_line(document, studio)

    async def _bring_in_line(self, document: CameraConfigured, studio: Studio) -> None:
        stream = self._streams.get(document.camera)
        if stream is None:
            self._start(document, studio)
            return
        before = stream.document
        if reopens(before, document):
            why = "the camera was changed" if document.enabled else "the camera was switched off"
            await self._close(document.camera, studio, why)
            self._start(document, studio)
        elif adjusts(before, document):
            stream.follow(document)
        else:
            stream.document = document

    def _start(self, document: CameraConfigured, studio: Studio) -> None:
        stream = self._streams[document.camera] = Stream(document, studio)
        self._run(stream)

    def _run(self, stream: Stream) -> None:
        task = asyncio.create_task(stream.run(), name=f"camera-{stream.camera}")
        task.add_done_callback(lambda done: self._over(stream, done))
        self._tasks[stream.camera] = task

    def _over(self, stream: Stream, task: asyncio.Task[None]) -> None:
        """A stream's task is over. One that broke is started again; the others never notice."""
        if task.cancelled() or task.exception() is None:
            return
        _log.error("camera_failed", camera=stream.camera, exc_info=task.exception())
        if self._tasks.get(stream.camera) is task:
            asyncio.get_running_loop().call_later(AGAIN_S, self._run_again, stream, task)

    def _run_again(self, stream: Stream, task: asyncio.Task[None]) -> None:
        if self._tasks.get(stream.camera) is task:
            self._run(stream)

    async def _close(self, camera: str, studio: Studio, reason: str) -> None:
        task = self._tasks.pop(camera, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # What fails here is tried again: only then is the stream forgotten.
        await self._streams[camera].close(reason)
        del self._streams[camera]
        studio.hosts.forget(camera)
