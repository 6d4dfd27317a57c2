"""Who watches: messages go to every viewer in order, pictures only as the newest of each camera that one watches."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ENCODER = msgspec.json.Encoder()


class Viewer:
    """One open page. `watched` None: every camera."""

    def __init__(self, backlog: int) -> None:
        self.watched: frozenset[str] | None = None
        self.too_slow = False
        self.skipped = 0  # pictures that a newer one replaced before they were sent
        self._backlog = backlog
        self._messages: deque[str] = deque()
        self._pictures: dict[str, bytes] = {}
        self._ready = asyncio.Event()

    def watches(self, camera: str) -> bool:
        """Whether this page shows the camera."""
        return self.watched is None or camera in self.watched

    def tell(self, text: str) -> None:
        """Queue a message; a page that does not read is marked for cutting, its queue is let go."""
        if len(self._messages) >= self._backlog:
            self.too_slow = True
            self._messages.clear()
            self._pictures.clear()
        else:
            self._messages.append(text)
        self._ready.set()

    def show(self, camera: str, picture: bytes) -> None:
        """Queue a picture in place of an older one of the same camera."""
        self.skipped += camera in self._pictures
        self._pictures[camera] = picture
        self._ready.set()

    async def next(self) -> list[str | bytes]:
        """What is to be sent now: all messages, then one picture of each camera. Waits for the first."""
        await self._ready.wait()
        self._ready.clear()
        out: list[str | bytes] = [*self._messages, *self._pictures.values()]
        self._messages.clear()
        self._pictures.clear()
        return out


class Hub:
    """All viewers of this process, and the present state that a new one starts from."""

    def __init__(
        self, *, limit: int, backlog: int, skipped: Callable[[int], None] = lambda _count: None
    ) -> None:
        self._limit = limit
        self._backlog = backlog
        self._skipped = skipped  # told of pictures that were replaced before they were sent
        self._viewers: set[Viewer] = set()
        self._cameras: dict[str, dict[str, Any]] = {}
        self._status: dict[str, dict[str, Any]] = {}

    def join(self) -> Viewer | None:
        """A new viewer, told the present state; None when there are too many."""
        if len(self._viewers) >= self._limit:
            return None
        viewer = Viewer(self._backlog)
        self._viewers.add(viewer)
        state = {
            "type": "hello",
            "cameras": list(self._cameras.values()),
            "status": list(self._status.values()),
        }
        viewer.tell(_text(state))
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self._viewers.discard(viewer)

    def tell(self, messages: Iterable[dict[str, Any]]) -> None:
        """Tell every viewer; each message is encoded once."""
        for message in messages:
            if message["type"] == "status":
                self._status[message["camera"]] = message
            if self._viewers:
                text = _text(message)
                for viewer in self._viewers:
                    viewer.tell(text)

    def configured(self, camera: str, document: dict[str, Any] | None) -> None:
        """A camera was added, changed or (None) removed."""
        if document is None:
            self._cameras.pop(camera, None)
            self._status.pop(camera, None)
        else:
            self._cameras[camera] = document
        self.tell([{"type": "cameras", "cameras": list(self._cameras.values())}])

    def wanted(self, camera: str) -> bool:
        """Whether anybody watches this camera: only then is a picture worth encoding."""
        return any(viewer.watches(camera) for viewer in self._viewers)

    def show(self, camera: str, picture: bytes) -> None:
        """Show a picture to all who watch its camera."""
        for viewer in self._viewers:
            if viewer.watches(camera):
                before = viewer.skipped
                viewer.show(camera, picture)
                self._skipped(viewer.skipped - before)

    @property
    def viewers(self) -> int:
        """Open pages."""
        return len(self._viewers)


def _text(message: dict[str, Any]) -> str:
    return _ENCODER.encode(message).decode()
