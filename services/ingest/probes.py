"""Trying out a URL: a child process opens it, shows one picture, and ends within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

import msgspec

from services.ingest.hosts import bare_environment
from services.ingest.probe import Answer

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from services.ingest.orders import Orders
    from services.ingest.settings import IngestSettings
    from shared.security.camera_login import CameraLogin

AT_ONCE = 4
LARGEST_ANSWER = 2_000_000
STARTING_S = 5.0

_LATE = Answer(ok=False, kind="timeout", reason="no picture came in time; is the camera on?")
_BROKEN = Answer(ok=False, kind="undecodable", reason="it made its reader fail")


class Probes:
    """Tries URLs out, a few at a time."""

    def __init__(self, orders: Orders, settings: IngestSettings) -> None:
        self._orders = orders
        self._settings = settings
        self._places = asyncio.Semaphore(AT_ONCE)

    async def probe(self, url: str, login: CameraLogin | None) -> Answer:
        """What is to be seen at a URL, or why nothing is.

        Raises:
            Invalid: the address is not allowed; names the setting that would allow it.
            Unavailable: the name cannot be looked up now.
        """
        opening = await self._orders.opening(url, login)
        limit = self._settings.probe_timeout
        opening = msgspec.structs.replace(opening, open_timeout=limit, read_timeout=limit)
        async with self._places:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.ingest.probe",
                str(self._settings.reader_memory),
                str(max(1, round(2 * limit))),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=bare_environment(),
                limit=LARGEST_ANSWER,
            )
            try:
                async with asyncio.timeout(limit + STARTING_S):
                    said, _ = await child.communicate(msgspec.json.encode(opening))
            except TimeoutError:
                return _LATE
            finally:
                await _end(child)
        try:
            return msgspec.json.decode(said, type=Answer)
        except msgspec.DecodeError:
            return _BROKEN


async def _end(child: Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
