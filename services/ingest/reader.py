"""A reader process: hosts cameras, each in a thread, and hands their pictures to the service.

Started as `python -m services.ingest.reader MEMORY_MB`; standard input is the socket to the service. It ends when
the service does. Trouble of one camera is reported and leaves the others alone; a crash takes this process only.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from services.ingest.limits import confine
from services.ingest.passes import Pass
from services.ingest.sources import open_source
from services.ingest.sources.port import SourceError
from services.ingest.wire import Adjust, Close, Ended, Failed, Open, Report, commands, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.ingest.sources.port import Pixels, Shot, Source


def main() -> None:
    """Host cameras until the service is gone."""
    confine(memory_mb=int(sys.argv[1]))
    with socket.socket(fileno=os.dup(0)) as line:
        host = Host(line)
        threading.excepthook = host.report_crash
        host.serve()
    # Threads may hang in a read; nobody is left to wait for them.
    os._exit(0)


class Host:
    """The cameras of this process."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._speaking = threading.Lock()
        self._readings: dict[int, Reading] = {}

    def serve(self) -> None:
        """Follow commands until the service hangs up."""
        for command in commands(self._line):
            if isinstance(command, Open):
                reading = Reading(command, self)
                self._readings[command.run] = reading
                work = threading.Thread(target=reading.work, name=str(command.run), daemon=True)
                work.start()
            elif isinstance(command, Adjust) and command.run in self._readings:
                self._readings[command.run].adjust(command)
            elif isinstance(command, Close) and command.run in self._readings:
                self._readings.pop(command.run).stop()

    def say(self, report: Report, fds: Sequence[int] = ()) -> None:
        """Report to the service; without one there is nothing left to do."""
        with self._speaking:
            try:
                send(self._line, report, fds)
            except OSError:
                os._exit(0)

    def report_crash(self, crash: threading.ExceptHookArgs) -> None:
        """Say where a camera's thread ended that should not have. Texts of errors may hold passwords: only the place."""
        trace = crash.exc_traceback
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = trace.tb_lineno if trace else 0
        where = trace.tb_frame.f_code.co_filename.rpartition("/")[2] if trace else "?"
        run = int(crash.thread.name) if crash.thread and crash.thread.name.isdigit() else 0
        reason = f"its reader failed: {crash.exc_type.__name__} at {where}:{line}"
        self.say(Failed(run, "interrupted", reason))


class Reading:
    """One camera being read, in a thread of its own."""

    def __init__(self, order: Open, host: Host) -> None:
        self._order = order
        self._run = order.run
        self._host = host
        self._stopped = threading.Event()
        self._settings: Open | Adjust = order

    def stop(self) -> None:
        """Stop soon, at the latest when the present read times out."""
        self._stopped.set()

    def adjust(self, settings: Adjust) -> None:
        """Use other masks and another rate from the next picture on."""
        self._settings = settings

    def work(self) -> None:
        """Read until the end, trouble, or `stop`."""
        source = None
        try:
            source = open_source(self._order.opening)
            self._read(source)
            self._host.say(Ended(self._run))
        except SourceError as error:
            self._host.say(Failed(self._run, error.kind, error.reason))
        except MemoryError:
            reason = "its pictures need more memory than a reader process may use"
            self._host.say(Failed(self._run, "unreadable", reason))
        finally:
            if source is not None:
                source.close()

    def _read(self, source: Source) -> None:
        current: Pass | None = None
        began = 0.0
        for shot in source.shots():
            if shot.begins:
                current, began = None, time.monotonic()
            pause = began + shot.offset / 1_000_000 - time.monotonic() if source.paced else 0.0
            if self._stopped.wait(max(0.0, pause)):
                return
            current = self._handle(source, current, shot)

    def _handle(self, source: Source, current: Pass | None, shot: Shot) -> Pass:
        """Hand one shot on. The first one, and one of another size, begins a new pass."""
        if current is not None:
            current.follow(self._settings)
            if not current.due(shot):
                passed = current.passed(shot)
                if passed is not None:
                    self._host.say(passed)
                return current
        picture = shot.picture()
        if current is None or not current.fits(picture):
            current = self._begin(source, picture, shot)
        if self._room(current, source):
            self._host.say(current.shown(shot, picture))
        else:
            current.drop()
        return current

    def _begin(self, source: Source, picture: Pixels, shot: Shot) -> Pass:
        begun = Pass(self._run, source, picture, shot)
        begun.follow(self._settings)
        begun.due(shot)
        self._host.say(begun.opened(), [begun.file])
        begun.handed_over()
        return begun

    def _room(self, current: Pass, source: Source) -> bool:
        """Whether the ring has room: a live camera cannot wait for it, anything else does."""
        while current.ring.full:
            if source.live or self._stopped.wait(0.002):
                return False
        return True


if __name__ == "__main__":
    main()
