"""One server a data folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from shared.errors import Setup
from shared.security.keys import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextmanager
def lock_folder(data_dir: Path, names: Sequence[str], *, alone: bool) -> Iterator[None]:
    """Hold the data folder while the server runs.

    alone: no other server may use the folder, as embedded adapters demand; else only none of the same services.

    Raises:
        Setup: another server holds it; names its process and the remedy.
    """
    folder = data_dir / "run"
    private_folder(folder)
    with ExitStack() as stack:
        stack.enter_context(_locked(folder / "server.lock", data_dir, shared=not alone))
        for name in () if alone else names:
            stack.enter_context(_locked(folder / f"{name}.lock", data_dir, shared=False))
        yield


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
        "Stop it, or choose another folder with --data-dir or VANTAGE_DATA_DIR"
    )
