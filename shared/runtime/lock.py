"""One server a data folder, or one of each service and instance: locks that end with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import Setup
from shared.security.keys import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def lock_folder(
    data_dir: Path, names: Sequence[str], *, alone: bool, instance: str = "main"
) -> Iterator[None]:
    """Hold the data folder while the server runs.

    alone: no other server may use the folder, as embedded adapters demand; else only none with the same instance
    name of one of these services: leases and groups of the log know a process by that name.

    Raises:
        Setup: another server holds it, or it cannot be used; names the remedy.
    """
    folder = data_dir / "run"
    with ExitStack() as stack:
        stack.enter_context(_usable(data_dir))
        private_folder(folder)
        server = Taken(
            f"a Vantage server is already running on the data folder {data_dir}",
            "Stop it, or choose another folder with --data-dir or VANTAGE_DATA_DIR",
        )
        stack.enter_context(_locked(folder / "server.lock", shared=not alone, taken=server))
        for name in () if alone else names:
            one = Taken(
                f"{name} is already running as {instance!r} on the data folder {data_dir}",
                "Stop it, or give this one a name of its own with VANTAGE_INSTANCE",
            )
            path = folder / f"{name}.{instance}.lock"
            stack.enter_context(_locked(path, shared=False, taken=one))
        yield


@contextmanager
def _usable(data_dir: Path) -> Iterator[None]:
    """What goes wrong with files below the folder is the folder's fault: full, read-only, or not ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"{error.strerror}. Free some space and start again; nothing is lost"
        elif error.filename is not None and _below(Path(os.fsdecode(error.filename)), data_dir):
            why = (
                f"{error.filename}: {error.strerror}. Give this user the right to write there, "
                "or choose another folder with --data-dir or VANTAGE_DATA_DIR"
            )
        else:
            raise
        raise Setup(f"the data folder {data_dir} cannot be used: {why}") from error


def _below(path: Path, data_dir: Path) -> bool:
    return path.is_relative_to(data_dir) or data_dir.is_relative_to(path)


@contextmanager
def _locked(path: Path, *, shared: bool, taken: Taken) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Setup(taken.text(path)) from None
        if not shared:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(
            descriptor
        )  # the lock goes with it; the file stays, so that nobody locks a removed one


class Taken(NamedTuple):
    """What to say where a lock is another process's."""

    what: str
    remedy: str

    def text(self, path: Path) -> str:
        """With the process that holds it, where the file tells."""
        holder = path.read_text().strip()
        who = f"process {holder}" if holder else "another process"
        return f"{self.what} ({who}). {self.remedy}"
