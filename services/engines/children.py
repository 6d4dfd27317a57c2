"""Child processes of a house: started, listened to, ended in good order, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import VantageError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_BYTES = 10_000_000  # then a log file is put aside, and the one before it goes
LONGEST_LINE = 1_000_000
LISTEN_S = 1.0
TRIES = 3  # starts of a child that has never worked
SETUP = 2  # the exit status of a command that is set up wrongly

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Ended(VantageError):
    """A child ended by itself."""

    code = "ended"


class Order(NamedTuple):
    """How a child is run.

    ready: what it prints when it works. tell: what takes its standard output, line by line; None: that is log as well.
    aloud: whether its log also goes to our own standard error. ends_by, patience: how it is asked to end, and how many seconds that may take.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: bytes
    tell: Callable[[str], None] | None = None
    aloud: bool = True
    ends_by: signal.Signals = signal.SIGTERM
    dies_by: signal.Signals = signal.SIGKILL
    patience: float = 12.0


class Child:
    """One child. `run` is work for a supervisor: it does not return, and raises when the child ended by itself.

    ready: set while it works. refused: why it cannot start, once that is clear.
    """

    def __init__(self, order: Order, log: LogFile, born: Callable[[int], None]) -> None:
        self.name = order.name
        self.ready = asyncio.Event()
        self.refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._order = order
        self._log = log
        self._born = born
        self._last = ""
        self._worked = False  # at least once
        self._starts = 0

    async def run(self) -> None:
        """Start it and wait for its end; cancelled, ask it to end and wait for that.

        Raises:
            Ended: it has ended by itself.
        """
        async with _pipe() as (out, said), _pipe() as (err, logged):
            process = await self._start(out, err)
            self._born(process.pid)
            pumps = [self._pump(said, self._order.tell), self._pump(logged, None)]
            listening = [asyncio.create_task(pump) for pump in pumps]
            try:
                await process.wait()
            finally:
                self.ready.clear()
                await self._end(process)
                await asyncio.wait(listening, timeout=LISTEN_S)  # a grandchild may hold the pipes
                for pump in listening:
                    pump.cancel()
        self._judge(process.returncode)
        raise Ended(f"{self.name} ended with status {process.returncode}: {self._last}")

    def _judge(self, status: int | None) -> None:
        """Give up a child that says itself that it cannot start, or that never once came so far as to work."""
        self._starts += 1
        hopeless = status == SETUP or (not self._worked and self._starts >= TRIES)
        if hopeless and not self.refused.done():
            self.refused.set_result(f"{self.name}: {self._last.removeprefix('Error: ')}")

    async def _start(self, out: int, err: int) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._order.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(self._order.environment),
                start_new_session=True,  # a Ctrl-C in the terminal is for us; we end our children in order
                preexec_fn=die_with_parent(self._order.dies_by),
            )
        finally:
            for end in (out, err):
                os.close(end)

    async def _pump(self, stream: asyncio.StreamReader, tell: Callable[[str], None] | None) -> None:
        async for line in lines(stream):
            text = line.decode(errors="replace")
            if tell is not None:
                tell(text)
            else:
                self._last = text or self._last
                self._log.write(line)
                if self._order.aloud:
                    sys.stderr.write(f"{self.name:<16} | {text}\n")
            if self._order.ready in line:
                self._worked = True
                self.ready.set()

    async def _end(self, process: Process) -> None:
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self._order.ends_by)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._order.patience):
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class LogFile:
    """A child's log in a file: put aside when it is large, so that two files at most are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, line: bytes) -> None:
        """Add a line. A full disk costs the line, never the house."""
        if self._size > LOG_BYTES:
            self._path.replace(self._path.with_suffix(".log.1"))
            self._size = 0
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            self._size += file.write(line + b"\n")


def die_with_parent(by: signal.Signals) -> Callable[[], None]:
    """What a child runs before it becomes the program: the kernel sends it this signal when we die (Linux)."""
    parent = os.getpid()

    def bound() -> None:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return bound


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """A pipe's end for a child, closed by whoever hands it over, and what we read from the other."""
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb")
    )
    try:
        yield theirs, reader
    finally:
        transport.close()


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long; one beyond a megabyte comes in parts."""
    rest = b""
    while read := await stream.read(65_536):
        *whole, rest = (rest + read).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest
