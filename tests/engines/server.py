"""What every engine that is a server of its own has in common: its process, from start to end."""

import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from tests.engines import processes


class EngineServer(ABC):
    """One server on the loopback interface. Its port stays the same over kill, stop and start.

    name: in errors, and of its log. ready: what its log says when clients can work; empty: an open port is enough.
    ends_by: the signal for an end in order. starts_s: seconds that a start may take.

    In a `with` it is started, unless it runs already, and killed in the end.
    """

    name: ClassVar[str]
    ready: ClassVar[bytes] = b""
    ends_by: ClassVar[signal.Signals] = signal.SIGTERM
    starts_s: ClassVar[float] = 60.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.port = port or processes.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = 0  # how often it has said before this start that clients can work

    def start(self, *, wait: bool = True) -> None:
        """Start on the data that is there and return when clients can work; `wait` False: at once."""
        self._heard = self._said()
        self._process = self._spawned()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when clients can work; what does not come to that is killed."""
        process = self._running()
        try:
            processes.wait_until(self._works, seconds=self.starts_s, process=process, log=self.log)
        except RuntimeError:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut down in order, as an operator would; nothing happens when it is down already."""
        if self._process is not None:
            processes.end(self._process, by=self.ends_by, grace=30)
            self._process = None

    def kill(self) -> None:
        """Kill -9; nothing happens when it is down already."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def restart(self) -> None:
        """Kill -9 and start again on the same data and port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open and nothing answers.

        Returns when all its threads stand still: on a busy machine some go on for a moment.
        """
        processes.freeze(self._running())

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        processes.thaw(self._running())

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @abstractmethod
    def _command(self) -> list[str]:
        """How it is started."""

    def _spawned(self) -> subprocess.Popen[bytes]:
        return processes.spawn(self._command(), log=self.log)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    def _works(self) -> bool:
        return (not self.ready or self._said() > self._heard) and self._accepts()

    def _said(self) -> int:
        return self.log.read_bytes().count(self.ready) if self.ready and self.log.exists() else 0

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
