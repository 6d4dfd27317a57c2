"""Log files of the processes on a data folder: written owner-only and rotated by size, read merged by time."""

from __future__ import annotations

import heapq
import json
import os
import re
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from shared.errors import Invalid, Setup

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

SUFFIX = ".jsonl"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_AGO = re.compile(r"^(\d+(?:\.\d+)?)([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class LogFile(RotatingFileHandler):
    """Appends to a file that only its owner may read; what is full moves to `.1`, `.2`, ... up to `count`."""

    def __init__(self, path: Path, *, size: int, count: int) -> None:
        """Open it.

        Raises:
            Setup: the folder or the file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            super().__init__(path, maxBytes=size, backupCount=count, encoding="utf-8")
        except OSError as error:
            raise Setup(
                f"no log can be written to {path}: {error.strerror}. Give this user the right to write there, "
                "or set VANTAGE_LOG_FILES=0 to log to standard error alone"
            ) from None

    def _open(self) -> Any:  # noqa: ANN401 - the type is the standard library's own secret
        return _Unbuffered(self.baseFilename)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A disk that takes no line is no reason to say so at each: standard error has it, and /health knows."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class _Unbuffered:
    """A text stream without a buffer: a kill loses no line, and a disk that is full keeps none in memory."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab", buffering=0, opener=_owner_only)  # noqa: SIM115 - kept open, and pathlib knows no opener
        self.seek, self.tell, self.close = self._file.seek, self._file.tell, self._file.close

    def write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Nothing waits."""


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Line(NamedTuple):
    """One line. `at` sorts as its time does."""

    at: str
    data: dict[str, Any]
    text: str


class Wanted(NamedTuple):
    """What a reader asks for."""

    correlation: str = ""
    level: str = "DEBUG"
    since: str = ""

    def fits(self, line: Line) -> bool:
        """Whether this line is asked for; a correlation is found by the id of its trace, too."""
        said = str(line.data.get("level", "")).upper()
        if said in LEVELS and LEVELS.index(said) < LEVELS.index(self.level):
            return False
        ids = (line.data.get("correlation"), line.data.get("trace_id"))
        return line.at >= self.since and (not self.correlation or self.correlation in ids)


class Journal:
    """The log files of a folder, opened at once, so that a rotation meanwhile loses nothing. Close it after use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[Path, _Process] = {}
        self._find()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.close()

    def read(self, wanted: Wanted) -> Iterator[Line]:
        """What is there, merged by time."""
        found = [process.lines() for process in self._processes.values()]
        return filter(wanted.fits, heapq.merge(*found, key=_at))

    def more(self, wanted: Wanted) -> list[Line]:
        """What came since, by time; processes that began since are found."""
        self._find()
        found = [line for process in self._processes.values() for line in process.lines()]
        return sorted(filter(wanted.fits, found), key=_at)

    def _find(self) -> None:
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path not in self._processes:
                self._processes[path] = _Process(path)


class _Process:
    """The files of one process, the oldest first; then whatever is appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._current: IO[bytes] | None = None
        self._rest = b""
        self._old: list[IO[bytes]] = []
        self._reopen()
        for old in sorted(path.parent.glob(f"{path.name}.*"), key=_number, reverse=True):
            self._add(old)

    def close(self) -> None:
        self._stack.close()

    def lines(self) -> Iterator[Line]:
        """Every line not read yet."""
        while self._old:
            yield from _parsed(self._old.pop(0).read().splitlines())
        while self._current is not None:
            yield from self._appended(self._current)
            if not self._rotated(self._current):
                return
            yield from self._appended(self._current)
            self._reopen()

    def _appended(self, file: IO[bytes]) -> Iterator[Line]:
        whole, newline, self._rest = (self._rest + file.read()).rpartition(b"\n")
        return _parsed(whole.splitlines() if newline else [])

    def _add(self, path: Path) -> None:
        if not path.name.removeprefix(f"{self._path.name}.").isdecimal():
            return
        try:
            file = self._stack.enter_context(path.open("rb"))
        except FileNotFoundError:
            return  # rotated away meanwhile
        if self._current is None or not os.path.samestat(*map(_stat, (file, self._current))):
            self._old.append(file)

    def _rotated(self, file: IO[bytes]) -> bool:
        try:
            return not os.path.samestat(_stat(file), self._path.stat())
        except FileNotFoundError:
            return False  # in the middle of it

    def _reopen(self) -> None:
        try:
            self._current = self._stack.enter_context(self._path.open("rb"))
        except FileNotFoundError:
            self._current = None
        self._rest = b""


def since(text: str, now: datetime) -> str:
    """`15m`, `2h`, `1d` ago, or a time as ISO 8601, as lines are sorted.

    Raises:
        Invalid: it is neither.
    """
    ago = _AGO.match(text)
    if ago is not None:
        at = now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        return _sortable(at.astimezone(UTC).isoformat())
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"--since {text!r} is no time; write 15m, 2h, 1d or 2026-01-31T12:00", field="since"
        ) from None
    return _sortable(at.astimezone(UTC).isoformat())


def _parsed(lines: list[bytes]) -> Iterator[Line]:
    """The lines that are whole; one that a kill or a full disk cut is passed over."""
    for raw in lines:
        text = raw.decode(errors="replace")
        try:
            data = json.loads(text)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield Line(_sortable(str(data.get("timestamp", ""))), data, text)


def _sortable(time: str) -> str:
    """An ISO time in UTC with all six digits of its fraction, without its zone."""
    plain = time.removesuffix("Z").removesuffix("+00:00")
    return plain if "." in plain else f"{plain}.000000"


def _at(line: Line) -> str:
    return line.at


def _number(path: Path) -> int:
    number = path.name.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _stat(file: IO[bytes]) -> os.stat_result:
    return os.fstat(file.fileno())
