"""Cameras a core: how many 640x360 cameras at 5 frames a second are looked at with less than 1 % dropped.

The yard is rendered to films once, before time is taken; a camera plays one of them, so that reading, decoding, the
motion gate, detection, tracking and rules cost what they cost and the simulator costs nothing. Cameras are added step
by step to a running system; at each step frames and drops are counted by the system's own metrics, processor time by
the kernel. `one` is `vantage up` on its embedded log; `two` is two processes each of ingest, inference and
orchestrator, and one of each other service, on a real Kafka broker (its processor time stands beside, not in, ours).

Run: `.venv/bin/python -m benchmarks.cameras [--systems one two] [--detector scripted|yolox] [--cameras 2,4,8,...]
[--seconds S]`. The knee is the last step with less than 1 % dropped at 98 % of the frames that were due.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(os.environ.get("VANTAGE_TEST_DATA", "../shared"))
MODEL = DATA / "models" / "yolox_nano.onnx"
FPS, SCENE_S, FILMS = 5, 60, 4
SETTLE_S = 8.0
READY_S = 120.0
MOST_DROPPED, LEAST_RATE = 0.01, 0.98 * FPS
ALONE = ("gateway", "vms", "dashboard", "notifier")
TWICE = ("ingest", "inference", "orchestrator")
KNOWN = ("captured", "looked", "passed")
REASON = re.compile(r'reason="(\w+)"')
METRIC = re.compile(r"^(vantage_\w+_total)\{(.*)\} (\S+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=["one", "two"], choices=("one", "two"))
    parser.add_argument("--detector", default="scripted", choices=("scripted", "yolox"))
    parser.add_argument("--cameras", default="2,4,8,12,16,24,32", help="steps, separated by commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each step")
    parser.add_argument("--db-url", default="", help="VANTAGE_DB_URL of `two`; empty: SQLite files")
    options = parser.parse_args()
    steps = [int(step) for step in options.cameras.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        films = [render(Path(folder), number) for number in range(FILMS)]
        for name in options.systems:
            print(f"{name}, {options.detector}, on {len(os.sched_getaffinity(0))} cores")
            with ExitStack() as stack:
                system = start(name, Path(folder) / name, stack, db_url=options.db_url)
                climb(
                    system, films, steps, detect=detect(options.detector), seconds=options.seconds
                )


def climb(
    system: System, films: Sequence[Path], steps: Sequence[int], *, detect: object, seconds: float
) -> None:
    """Add cameras step by step until too many frames are dropped."""
    knee, cores = 0, 1.0
    for step in steps:
        for number in range(system.cameras, step):
            film = films[number % len(films)]
            own = film.with_name(f"{system.name}-{number}.mp4")  # one address, one camera
            os.link(film, own)
            url = f"{own.as_uri()}?loop=1"
            system.add({"name": f"cam-{number}", "url": url, "detect": detect})
        time.sleep(SETTLE_S + step / 10)  # ten connect a second
        found = system.measure(seconds)
        print(f"  {step:3} cameras: {found.text(step)}", flush=True)
        if found.dropped >= MOST_DROPPED or found.rate(step) < LEAST_RATE:
            break
        knee, cores = step, found.cores
    print(f"  the knee: {knee} cameras on {cores:.2f} cores, {knee / cores:.1f} a core", flush=True)


class Found(NamedTuple):
    """What a step came to. `captured`: frames that left the readers; `cores`: processor time over wall time."""

    seconds: float
    captured: float
    looked: float
    passed: float
    lost: Counter[str]
    cores: float
    broker: float

    @property
    def dropped(self) -> float:
        """The share of frames that nobody decided about."""
        lost = self.lost.total()
        return lost / max(1.0, self.captured + self.lost["reader"])

    def rate(self, cameras: int) -> float:
        """Frames a second and camera."""
        return self.captured / self.seconds / cameras

    def text(self, cameras: int) -> str:
        """A line."""
        why = "".join(f" {reason}={count}" for reason, count in self.lost.items() if count)
        beside = f" + broker {self.broker:.2f}" if self.broker else ""
        return (
            f"{self.rate(cameras):.2f} frames/s each, dropped {self.dropped:.2%}{why}, "
            f"looked at {self.looked / max(1.0, self.looked + self.passed):.0%}, "
            f"{self.cores:.2f} cores{beside}"
        )


class System:
    """Running processes of ours on one data folder."""

    def __init__(self, folder: Path, broker: int | None) -> None:
        self.cameras = 0
        self.name = folder.name
        self._folder = folder
        self._broker = broker
        self._processes: list[subprocess.Popen[bytes]] = []
        self._metrics: list[str] = []

    def run(self, *arguments: str, **environment: str) -> None:
        """Start a process; return when it is ready."""
        port = environment.get("VANTAGE_PORT") or str(_free_port())
        metrics = _free_port()
        log = self._folder.parent / f"{self._folder.name}-{len(self._processes)}.log"
        settings = {
            "VANTAGE_DATA_DIR": str(self._folder),
            "VANTAGE_METRICS_PORT": str(metrics),
            "VANTAGE_PORT": port,
            "VANTAGE_LOG_LEVEL": "ERROR",
            **environment,
        }
        with log.open("wb") as out:
            command = [sys.executable, "-m", "services.main", *arguments]
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, **settings}
            )
        self._processes.append(process)
        self._metrics.append(f"http://127.0.0.1:{metrics}/metrics")
        deadline = time.monotonic() + READY_S
        while not _is_ready(f"http://127.0.0.1:{port}/ready"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{arguments} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all in good order."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    def add(self, camera: dict[str, object]) -> None:
        """Configure a camera."""
        transport = httpx.HTTPTransport(uds=str(self._folder / "run" / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://vantage", timeout=30) as client:
            answer = client.post("/api/v1/cameras", json=camera)
            while answer.status_code in (502, 503):  # the gateway has not found vms yet
                time.sleep(0.5)
                answer = client.post("/api/v1/cameras", json=camera)
        if not answer.is_success:
            raise SystemExit(f"the camera was refused: {answer.text}")
        self.cameras += 1

    def measure(self, seconds: float) -> Found:
        """Count for so many seconds."""
        before, cpu, broker = self._counts(), self._cpu(), self._broker_cpu()
        began = time.monotonic()
        time.sleep(seconds)
        counted, spent, beside = self._counts(), self._cpu() - cpu, self._broker_cpu() - broker
        took = time.monotonic() - began
        counted.subtract(before)
        return Found(
            seconds=took,
            captured=counted["captured"],
            looked=counted["looked"],
            passed=counted["passed"],
            lost=Counter({name: n for name, n in counted.items() if name not in KNOWN}),
            cores=spent / took,
            broker=beside / took,
        )

    def _counts(self) -> Counter[str]:
        """Frames by what became of them, over all processes."""
        found: Counter[str] = Counter()
        for url in self._metrics:
            for name, labels, value in METRIC.findall(httpx.get(url, timeout=30).text):
                if name == "vantage_frames_captured_total":
                    found["captured"] += round(float(value))
                elif name == "vantage_frames_dropped_total":
                    found[REASON.findall(labels)[0]] += round(float(value))
                elif name == "vantage_inference_frames_total":
                    passed = 'coverage="none"' in labels
                    found["passed" if passed else "looked"] += round(float(value))
        return found

    def _cpu(self) -> float:
        return sum(_tree_cpu(process.pid) for process in self._processes)

    def _broker_cpu(self) -> float:
        return 0.0 if self._broker is None else _tree_cpu(self._broker)


def start(name: str, folder: Path, stack: ExitStack, *, db_url: str) -> System:
    """The system under test, ready."""
    folder.mkdir()
    if name == "one":
        system = System(folder, None)
        stack.callback(system.stop)
        system.run("up")
        return system
    from tests.engines.kafka import make_broker

    broker = make_broker(folder.parent / "kafka")
    stack.callback(broker.stop)
    java = next(child.pid for child in psutil.Process().children() if "java" in child.name())
    system = System(folder, java)
    stack.callback(system.stop)
    shared = {"VANTAGE_BUS_URL": broker.url, **({"VANTAGE_DB_URL": db_url} if db_url else {})}
    vms = _free_port()
    system.run("run", "vms", **shared, VANTAGE_PORT=str(vms))
    upstreams = f"http://127.0.0.1:{vms}"
    system.run("run", "gateway", **shared, VANTAGE_GATEWAY_UPSTREAMS=upstreams)
    for service in ALONE[2:]:
        system.run("run", service, **shared)
    for service in TWICE:
        for instance in ("a", "b"):
            system.run("run", service, **shared, VANTAGE_INSTANCE=instance)
    return system


def detect(name: str) -> dict[str, object]:
    """A camera's detect settings."""
    if name == "scripted":
        return {"backend": "scripted", "rate": FPS}
    if not MODEL.is_file():
        raise SystemExit(f"no {MODEL}; point VANTAGE_TEST_DATA at the test data")
    return {"model": str(MODEL.resolve()), "rate": FPS}


def render(folder: Path, number: int) -> Path:
    """The yard as H.264, each film beginning elsewhere in the scene."""
    import av

    from shared.sim.renderer import Renderer
    from shared.sim.scene import Scene

    path = folder / f"yard-{number}.mp4"
    renderer = Renderer(Scene(seed=7, duration_s=SCENE_S), 640, 360)
    pictures, step = SCENE_S * FPS, 1_000_000 // FPS
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {"preset": "veryfast", "crf": "20", "g": str(2 * FPS), "bf": "0"}
        for index in range(pictures):
            at = (index + number * pictures // FILMS) % pictures * step
            film.mux(stream.encode(av.VideoFrame.from_ndarray(renderer.draw(at), format="bgr24")))
        film.mux(stream.encode(None))
    return path


def _tree_cpu(pid: int) -> float:
    """Processor seconds of a process and what it started."""
    spent = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
    return spent


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    from tests.engines.processes import free_port

    return free_port()


if __name__ == "__main__":
    main()
