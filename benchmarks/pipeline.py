"""From video to incidents: our pipeline beside a bare decode+detect loop and one with supervision, in one run.

`pets09-s2l1-300.mp4` with YOLOX-Nano, every frame detected, one intra-op thread, one decoder thread. Ours says every
detection on the durable log (SQLite, synchronous=FULL, twenty a commit), tracks, and evaluates two rules; `analyze` is
what `vantage analyze` does. Each measurement is a process of its own, pinned; they take turns, and medians count.
Start-up (imports, loading the model) is not measured.

Run: `.venv/bin/python -m benchmarks.pipeline [--runs N] [--skip supervised]`. Figures that must hold: wall of bare over
wall of ours >= 0.85 on one core; CPU seconds a frame of ours over those of bare <= 1.3 on two; recall and precision
within 0.005 of bare, also with a JPEG in between.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATA = Path(os.environ.get("VANTAGE_TEST_DATA", "../shared"))
VIDEO = DATA / "media" / "pets09-s2l1-300.mp4"
TRUTH = DATA / "media" / "pets09-s2l1-300.gt.txt"
MODEL = DATA / "models" / "yolox_nano.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each; medians count")
    parser.add_argument("--skip", nargs="*", default=[], choices=tuple(LOOPS))
    parser.add_argument("--measure", choices=tuple(LOOPS), help=argparse.SUPPRESS)
    parser.add_argument("--cores", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not VIDEO.is_file():
        raise SystemExit(f"no {VIDEO}; point VANTAGE_TEST_DATA at the test data")
    if options.measure:
        print(json.dumps(_measure(options.measure, options.cores)))
        return
    names = [name for name in LOOPS if name not in options.skip]
    _speed(names, options.runs)
    _accuracy(names)


def _speed(names: list[str], runs: int) -> None:
    available = sorted(os.sched_getaffinity(0))
    for title, cores in (("one core", available[:1]), ("two cores", available[:2])):
        timed = [name for name in names if not name.endswith("jpeg")]
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in timed}
        for _ in range(runs):
            for name in timed:
                measured[name].append(_child(name, cores))
        print(f"{title}: medians of {runs}, per frame")
        base = _medians(measured["bare"])
        for name in timed:
            wall, cpu = _medians(measured[name])
            print(
                f"  {name:12} wall {wall:6.2f} ms (bare/it {base[0] / wall:.3f})   "
                f"cpu {cpu:6.2f} ms (it/bare {cpu / base[1]:.3f})"
            )


def _accuracy(names: list[str]) -> None:
    from benchmarks.accuracy import score

    print("accuracy, person class, confidence 0.3, NMS 0.45, IoU 0.5")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            seen, _ = LOOPS[name](Path(folder))
        print(f"  {name:12} {score(seen, TRUTH)}", flush=True)


def _medians(measured: list[dict[str, Any]]) -> tuple[float, float]:
    """Milliseconds a frame: wall, CPU."""
    return (
        statistics.median(1000 * each["wall"] / each["frames"] for each in measured),
        statistics.median(1000 * each["cpu"] / each["frames"] for each in measured),
    )


def _child(name: str, cores: list[int]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--measure", name]
    pinned = [*command, "--cores", ",".join(map(str, cores))]
    answer = subprocess.run(pinned, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _measure(name: str, cores: str) -> dict[str, Any]:
    """One pass over the film in this process."""
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    with tempfile.TemporaryDirectory() as folder:
        seen, spent = LOOPS[name](Path(folder))
    return {"frames": len(seen), **spent}


class Watch:
    """Wall and CPU seconds, from `start` to `stop`."""

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def stop(self) -> dict[str, float]:
        return {"wall": time.perf_counter() - self._wall, "cpu": _cpu() - self._cpu}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


Answer = tuple[dict[int, list[list[float]]], dict[str, float]]


def bare(_folder: Path, *, jpeg: bool = False) -> Answer:
    from benchmarks import loops

    return _timed(lambda network: loops.bare(VIDEO, network, jpeg=jpeg))


def bare_jpeg(folder: Path) -> Answer:
    return bare(folder, jpeg=True)


def supervised(_folder: Path) -> Answer:
    from benchmarks import loops

    return _timed(lambda network: loops.supervised(VIDEO, network))


def _timed(loop: Callable[[Any], dict[int, list[list[float]]]]) -> Answer:
    from benchmarks.loops import Network

    network, watch = Network(MODEL), Watch()
    watch.start()
    seen = loop(network)
    return seen, watch.stop()


def durable(folder: Path, *, jpeg: bool = False) -> Answer:
    from benchmarks import stages

    return stages.durable(VIDEO, MODEL, folder, Watch(), jpeg=jpeg)


def durable_jpeg(folder: Path) -> Answer:
    return durable(folder, jpeg=True)


def analyzed(folder: Path) -> Answer:
    from benchmarks import stages

    return stages.analyzed(VIDEO, MODEL, folder, Watch())


LOOPS: Mapping[str, Callable[[Path], Answer]] = {
    "bare": bare,
    "bare-jpeg": bare_jpeg,
    "supervised": supervised,
    "ours": durable,
    "ours-jpeg": durable_jpeg,
    "analyze": analyzed,
}

if __name__ == "__main__":
    main()
