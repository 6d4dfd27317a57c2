"""Child processes of the tests: free ports, an end by pid, and none left behind."""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.engines.children import die_with_parent
from services.engines.places import free_port

__all__ = [
    "as_user",
    "die_with_parent",
    "end",
    "free_port",
    "freeze",
    "kill",
    "spawn",
    "thaw",
    "wait_until",
]


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user: pwd.struct_passwd | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that writes to `log` and dies with us, even when we are killed with -9.

    `environment` is added to ours. `folder`: where it works; `user`: as whom; None: as we do.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            preexec_fn=die_with_parent(signal.SIGKILL),
            start_new_session=True,  # else the kernel wakes what we froze when the shell before us goes
            **as_user(user),
        )


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a program as this user; None: as ours."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def end(
    process: subprocess.Popen[bytes], *, by: signal.Signals = signal.SIGTERM, grace: float = 10.0
) -> None:
    """Ask a process to end; kill it when it has not within `grace` seconds."""
    if process.poll() is None:
        process.send_signal(by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    kill(process)


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a process in its tracks (SIGSTOP) and return when its last thread stands still."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def thaw(process: subprocess.Popen[bytes]) -> None:
    """Let it go on (SIGCONT)."""
    process.send_signal(signal.SIGCONT)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 and wait."""
    if process.poll() is None:
        process.kill()
    process.wait()


def wait_until(
    ready: Callable[[], bool], *, seconds: float, process: subprocess.Popen[bytes], log: Path
) -> None:
    """Poll until `ready`; if the process ends or time is up first, raise with the tail of its log."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{process.args!r} did not become ready in {seconds} s:\n{tail}")
        time.sleep(0.05)
