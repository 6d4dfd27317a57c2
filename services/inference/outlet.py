"""The way out: finished events of all cameras, said in order, as many at once as have gathered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import structlog

from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.event import Envelope
    from shared.bus.port import Publisher

Said: TypeAlias = "Callable[[], None]"

WAITING = 256
"""Events that wait to be said; past that cameras wait, and their frames are dropped at admission."""
TOGETHER = 64
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
log = structlog.get_logger(component="outlet")


class Outlet:
    """Looking goes on while the log makes the last events durable; what the log refuses is said again."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: asyncio.Queue[tuple[Envelope, Said | None]] = asyncio.Queue(WAITING)
        self._saying: list[tuple[Envelope, Said | None]] = []

    async def put(self, envelope: Envelope, said: Said | None = None) -> None:
        """Have an event said after those that were put before; `said` is called once it is durable."""
        await self._waiting.put((envelope, said))

    @property
    def waiting(self) -> int:
        """Events that wait to be said, those that are being said among them."""
        return self._waiting.qsize() + len(self._saying)

    async def flush(self) -> None:
        """Wait until everything that was put is durable."""
        await self._waiting.join()

    async def run(self) -> None:
        """Say what is put, until cancelled."""
        while True:
            if not self._saying:
                self._saying.append(await self._waiting.get())
            while len(self._saying) < TOGETHER and not self._waiting.empty():
                self._saying.append(self._waiting.get_nowait())
            await self._say([envelope for envelope, _ in self._saying])
            done, self._saying = self._saying, []
            for _, said in done:
                if said is not None:
                    said()
                self._waiting.task_done()

    async def _say(self, envelopes: list[Envelope]) -> None:
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._publisher.publish(envelopes)
            except Transient as error:
                log.warning("not_said", events=len(envelopes), reason=str(error))
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            else:
                return
