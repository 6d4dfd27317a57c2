"""One server a data folder, or one of each name: locks that end with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import Setup
from shared.security.keys import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def lock_folder(
    data_dir: Path, names: Sequence[str], *, alone: bool, instance: str = "main"
) -> Iterator[None]:
    """Hold the data folder while the server runs.

    alone: no other server may use the folder, as embedded adapters demand; else only none of the same services
    under the same name, which is `instance` (VANTAGE_INSTANCE).

    Raises:
        Setup: another server holds it, or it cannot be used; names the remedy.
    """
    folder = data_dir / "run"
    with ExitStack() as stack:
        stack.enter_context(_usable(data_dir))
        private_folder(folder)
        stack.enter_context(_locked(folder / "server.lock", data_dir, shared=not alone))
        for name in () if alone else names:
            stack.enter_context(_locked(folder / f"{name}-{instance}.lock", data_dir, shared=False))
        yield


@contextmanager
def named_socket(data_dir: Path, names: Sequence[str], instance: str) -> Iterator[str]:
    """The name of this server's Unix socket in the data folder, held while it runs.

    Commands look for `api`: the gateway's, the first of them where there are several. All others have their own.
    """
    own = f"{names[0]}-{instance}"
    if "gateway" not in names:
        yield own
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(data_dir / "run" / "api.lock", data_dir, shared=False))
        except Setup:
            yield own
        else:
            yield "api"


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
def _locked(path: Path, data_dir: Path, *, shared: bool) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Setup(_taken(path, data_dir)) from None
        if not shared:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(
            descriptor
        )  # the lock goes with it; the file stays, so that nobody locks a removed one


def _taken(path: Path, data_dir: Path) -> str:
    holder = path.read_text().strip()
    who = f"process {holder}" if holder else "another process"
    return (
        f"a Vantage server is already running on the data folder {data_dir} ({who}). "
        "Stop it, or choose another folder with --data-dir or VANTAGE_DATA_DIR; "
        "a further process of a service needs a VANTAGE_INSTANCE of its own"
    )
