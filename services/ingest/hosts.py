"""The service's side of the reader processes: starts them, gives them cameras, hands their pictures on.

One process hosts many cameras. When it dies, each of its cameras is told; one that has seen two processes die gets
a process of its own. A thread for each process takes pictures out of shared memory, so that the event loop never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from services.ingest.ring import Ring
from services.ingest.wire import (
    Adjust,
    Close,
    Command,
    Ended,
    Failed,
    Open,
    Opened,
    Passed,
    Polygons,
    Report,
    Shown,
    reports,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

DEATHS_UNTIL_ALONE = 2
SILENT_S = 10.0
"""A process that said nothing for so long, while a camera of it was waited for in vain, is stuck."""
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
)


class Picture(NamedTuple):
    """A picture out of the ring; `pixels` is its own copy. `ring` waits to be told that it was taken."""

    shown: Shown
    pixels: NDArray[np.uint8]
    ring: Ring | None


Item: TypeAlias = "Opened | Picture | Passed | Ended | Failed"


class Session:
    """One reading of one camera: what its reader says, in order.

    A live camera's picture that was not taken before the next one came is replaced by it and counted in `dropped`;
    any other source waits until its pictures are taken.
    """

    def __init__(self, run: int, camera: str, tell: Callable[[Command], None]) -> None:
        self.run = run
        self.camera = camera
        self.dropped = 0
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._items: deque[Item] = deque()
        self._guard = threading.Lock()

    async def next(self, timeout: float) -> Item:
        """The next thing its reader says.

        Raises:
            TimeoutError: it said nothing for `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while not self._items:
                self._filled.clear()
                if not self._items:
                    await self._filled.wait()
        with self._guard:
            item = self._items.popleft()
        if isinstance(item, Picture) and item.ring is not None:
            item.ring.took()
        return item

    def adjust(self, rate: float, privacy: Polygons, still: Polygons) -> None:
        """Use another rate and other masks from now on."""
        self._tell(Adjust(self.run, rate, privacy, still))

    def close(self) -> None:
        """Stop reading."""
        self._tell(Close(self.run))

    def accept(self, item: Item) -> None:
        """Queue what the reader said. Called by its listener's thread: a stalled loop must not pile pictures up."""
        with self._guard:
            if isinstance(item, Passed) or (isinstance(item, Picture) and item.ring is None):
                self._supersede(type(item))
            self._items.append(item)
        # The loop may be closed before the process is quite gone.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._filled.set)

    def _supersede(self, kind: type[Item]) -> None:
        """Take away what the newest item of this kind makes worthless."""
        kept = [item for item in self._items if not isinstance(item, kind)]
        if kind is Picture:
            self.dropped += len(self._items) - len(kept)
        self._items = deque(kept)


class Host:
    """One reader process. Two threads face it, so that nothing it does or leaves undone holds the event loop up."""

    def __init__(
        self, memory_mb: int, loop: asyncio.AbstractEventLoop, gone: Callable[[Host], None]
    ) -> None:
        self.sessions: dict[int, Session] = {}
        self.alone = False
        self.heard = time.monotonic()
        self.pid = 0
        self._memory_mb = memory_mb
        self._loop = loop
        self._gone = gone
        self._unwanted = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: SimpleQueue[Command | None] = SimpleQueue()
        self._line, self._theirs = socket.socketpair()
        self._listener = threading.Thread(target=self._listen, name="reader-listener", daemon=True)
        self._listener.start()

    def tell(self, command: Command) -> None:
        """Send a command; a process that is gone is noticed by its listener."""
        if isinstance(command, Close):
            self.sessions.pop(command.run, None)
        self._commands.put(command)

    def kill(self) -> None:
        """End the process."""
        self._unwanted.set()
        if self._process is not None:
            self._process.kill()

    async def ended(self) -> None:
        """Wait until the process and its threads are gone."""
        await asyncio.to_thread(self._listener.join)

    def _listen(self) -> None:
        """The listener's thread: from the start of the process to its end."""
        # A reader that cannot be started, is gone, or garbles its words, is the same to us.
        with contextlib.suppress(OSError, ValueError), self._line, self._theirs:
            self._process = _spawn(self._theirs, self._memory_mb)
            self._theirs.close()
            self._attend(self._process)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._gone, self)

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        if self._unwanted.is_set():
            process.kill()
        speaker = threading.Thread(target=self._speak, name="reader-speaker", daemon=True)
        speaker.start()
        try:
            self._hear()
        finally:
            process.kill()
            process.wait()
            self._commands.put(None)
            speaker.join()

    def _hear(self) -> None:
        rings: dict[int, Ring] = {}
        for report, file in reports(self._line):
            if isinstance(report, Opened) and file is not None:
                rings[report.run] = Ring(file, report.width, report.height, report.slots)
                os.close(file)
            self.heard = time.monotonic()
            self._pass_on(report, rings)

    def _speak(self) -> None:
        """The speaker's thread: a process that takes no commands makes it wait, and nobody else."""
        with contextlib.suppress(OSError):
            while (command := self._commands.get()) is not None:
                send(self._line, command)

    def _pass_on(self, report: Report, rings: dict[int, Ring]) -> None:
        session = self.sessions.get(report.run)
        if isinstance(report, Shown):
            ring = rings[report.run]
            picture = Picture(report, ring.copy(report.slot), None if report.live else ring)
            if report.live or session is None:
                ring.took()
            if session is not None:
                session.accept(picture)
            return
        if isinstance(report, Ended | Failed):
            rings.pop(report.run, None)
        if session is not None:
            session.accept(report)


class Hosts:
    """All reader processes of this service. Used on one event loop."""

    def __init__(
        self, *, per_process: int = 16, memory_mb: int = 4096, silent_s: float = SILENT_S
    ) -> None:
        self._per_process = per_process
        self._silent_s = silent_s
        self._memory_mb = memory_mb
        self._hosts: list[Host] = []
        self._deaths: dict[str, int] = {}
        self._runs = 0

    def open(self, camera: str, order: Open) -> Session:
        """Start reading a camera; `order.run` is set here."""
        self._runs += 1
        host = self._host_for(camera)
        session = Session(self._runs, camera, host.tell)
        host.sessions[self._runs] = session
        host.tell(Open(self._runs, order.opening, order.rate, order.privacy, order.still))
        return session

    def suspect(self, session: Session) -> None:
        """A session fell silent without a word. Its process, if all of it is silent, is ended."""
        for host in self._hosts:
            if session.run in host.sessions and time.monotonic() - host.heard > self._silent_s:
                host.kill()

    def forget(self, camera: str) -> None:
        """The camera is gone; so is the count of processes that died under it."""
        self._deaths.pop(camera, None)

    @property
    def pids(self) -> list[int]:
        """The processes, for figures and tests."""
        return [host.pid for host in self._hosts]

    def pid_of(self, camera: str) -> int | None:
        """The process that reads a camera now."""
        for host in self._hosts:
            if any(session.camera == camera for session in host.sessions.values()):
                return host.pid
        return None

    async def close(self) -> None:
        """End all processes."""
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            host.sessions.clear()
            host.kill()
        for host in hosts:
            await host.ended()

    def _host_for(self, camera: str) -> Host:
        alone = self._deaths.get(camera, 0) >= DEATHS_UNTIL_ALONE
        self._retire_empty()
        for host in self._hosts:
            if not alone and not host.alone and len(host.sessions) < self._per_process:
                return host
        host = Host(self._memory_mb, asyncio.get_running_loop(), self._bury)
        host.alone = alone
        self._hosts.append(host)
        return host

    def _retire_empty(self) -> None:
        """A process of its own goes with its camera's session; of the shared ones one may wait for work."""
        for host in [host for host in self._hosts if host.alone and not host.sessions]:
            self._hosts.remove(host)
            host.kill()

    def _bury(self, host: Host) -> None:
        """Tell the cameras of a process that died."""
        if host in self._hosts:
            self._hosts.remove(host)
        orphans = list(host.sessions.values())
        host.sessions.clear()
        for session in orphans:
            self._deaths[session.camera] = self._deaths.get(session.camera, 0) + 1
            session.accept(Failed(session.run, "interrupted", "its reader process died"))


def _spawn(line: socket.socket, memory_mb: int) -> subprocess.Popen[bytes]:
    """A reader process with `line` as its standard input. Its other output may name cameras: it goes nowhere."""
    return subprocess.Popen(  # noqa: S603  # our own module by our own interpreter
        [sys.executable, "-m", "services.ingest.reader", str(memory_mb)],
        stdin=line.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=bare_environment(),
    )


def bare_environment() -> dict[str, str]:
    """What a child that faces cameras gets to know: how to run, none of our settings and secrets."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {**kept, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
