"""`vantage up` from exec to ready, first time and after, and the memory of its whole process tree with a camera.

Each start is a process of its own, polled at `/ready`. Memory is the proportional set size (PSS) of the server and
all its children, half a minute after a simulated camera with scripted detections came online; `--film` adds the
test data's film with YOLOX-Nano as a second camera.

Run: `.venv/bin/python -m benchmarks.startup [--runs N] [--film]`. Figures that must hold (medians): ready within 15 s
the first time and 5 s after; memory with one camera at most 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

DATA = Path(os.environ.get("VANTAGE_TEST_DATA", "../shared"))
POLL_S = 0.02
SETTLE_S = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--film", action="store_true", help="a second camera with a real detector")
    options = parser.parse_args()
    first, after, cpu = [], [], []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            first.append(started(Path(folder))[0])
            seconds, spent = started(Path(folder))
            after.append(seconds)
            cpu.append(spent)
    print(f"ready the first time  {_spread(first)} s   (at most 15)")
    print(
        f"ready after           {_spread(after)} s   (at most 5; {statistics.median(cpu):.1f} s of CPU)"
    )
    with tempfile.TemporaryDirectory() as folder:
        print(f"memory, one camera    {memory(Path(folder), film=False):.0f} MB (at most 500)")
    if options.film:
        with tempfile.TemporaryDirectory() as folder:
            print(f"memory, with a film   {memory(Path(folder), film=True):.0f} MB")


def started(folder: Path) -> tuple[float, float]:
    """Seconds from exec to ready, and the CPU seconds spent on it."""
    began = time.monotonic()
    with Server(folder) as server:
        seconds = time.monotonic() - began
        times = psutil.Process(server.pid).cpu_times()
        return seconds, times.user + times.system


def memory(folder: Path, *, film: bool) -> float:
    """PSS of the process tree in MB with a camera (and a film) running."""
    with Server(folder) as server:
        yard: dict[str, object] = {
            "name": "yard",
            "url": "sim://demo?fps=5&loop=1",
            "detect": {"backend": "scripted"},
        }
        server.add(yard)
        if film:
            model = str((DATA / "models" / "yolox_nano.onnx").resolve())
            video = (DATA / "media" / "pets09-s2l1-300.mp4").resolve()
            server.add(
                {"name": "film", "url": f"{video.as_uri()}?loop=1", "detect": {"model": model}}
            )
        time.sleep(SETTLE_S)
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        return sum(_pss(process.pid) for process in tree) / 1e6


class Server:
    """One `vantage up` on a folder, ready when entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = [sys.executable, "-m", "services.main", "up", "--port", "0"]
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Server:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        url = line.split()[-1]
        while httpx.get(f"{url}/ready").status_code != 200:
            time.sleep(POLL_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, camera: dict[str, object]) -> None:
        transport = httpx.HTTPTransport(uds=str(self._folder / "run" / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://vantage") as client:
            answer = client.post("/api/v1/cameras", json=camera)
            assert answer.is_success, json.dumps(answer.json())


def _pss(pid: int) -> int:
    """Proportional set size of a process in bytes."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
