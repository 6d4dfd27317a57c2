"""Child processes of the tests: free ports, an end by pid, and none left behind."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that writes to `log` and dies with us, even when we are killed with -9.

    `environment` is added to ours.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent,
        )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], *, grace: float = 10.0) -> None:
    """Ask a process to end; kill it when it has not within `grace` seconds."""
    if process.poll() is None:
        process.terminate()
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


def stopped(pid: int) -> bool:
    """Whether every thread of a process stands still (SIGSTOP)."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


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
