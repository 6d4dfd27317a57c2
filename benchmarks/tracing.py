"""What tracing costs a frame that leads to nothing: CPU of this process a frame, exporting included, off and on in turns.

A frame is what ingest, inference and orchestrator do for it beside their work: three spans and two new ids. The
collector is a process of its own. Run: `.venv/bin/python -m benchmarks.tracing [--frames N] [--rounds N]`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from schemas.event import Envelope
from schemas.events.stream_marks import StreamAlive
from shared import telemetry
from shared.clock import SystemClock
from shared.metrics import Metrics
from shared.traces.otlp import open_otlp
from shared.traces.port import Traces
from tests.engines.collector import Collector

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WAYS = {"off": None, "on, every 100th trace": 0.01, "on, every trace": 1.0}


def main() -> None:
    """Print CPU a frame for each way, and the share of a core at 100 frames/s."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=7)
    given = arguments.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    collector = multiprocessing.get_context("spawn").Process(target=collect, args=(there,))
    collector.start()
    url = str(here.recv())
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(given.rounds + 1):
        for way, ratio in WAYS.items():
            taken[way].append(measure(url, ratio, given.frames))
    here.send("enough")
    collector.join()
    for way, micros in taken.items():
        middle = statistics.median(micros[1:])  # the first round warms up
        print(f"{way:24} {middle:7.1f} us/frame  {middle / 100:5.2f} % of a core at 100 frames/s")


def measure(url: str, ratio: float | None, frames: int) -> float:
    """CPU microseconds a frame."""
    traces, metrics = Traces(ratio or 0.0), Metrics()
    began = time.process_time()
    with ExitStack() as stack:
        if ratio is not None:
            traces.sink = stack.enter_context(
                open_otlp(url, instance="main", version="0", lost=metrics.spans_lost)
            )
        for number in range(frames):
            pass_on(traces, number)
            if number % 100 == 0:
                time.sleep(0.02)  # frames do not come all at once
    return (time.process_time() - began) / frames * 1_000_000


def pass_on(traces: Traces, number: int) -> None:
    """One frame through three services, as they do it; nothing comes of it."""
    clock = SystemClock()
    capture, detect, evaluate = (
        traces.of(name, clock) for name in ("ingest", "inference", "orchestrator")
    )
    mark = StreamAlive(camera="yard", epoch=1, alive_at=number, lease=1)
    first = Envelope(
        id=f"yard-1-{number}", source="/b", topic="frames", key="yard", event=mark,
        traceparent=telemetry.child(None),
    )  # fmt: skip
    now = clock.now()
    capture.tell("capture", first.traceparent, None, now, vantage_camera="yard")
    second = detect.under(first)
    detect.tell("detect", second.traceparent, first.traceparent, now, vantage_camera="yard")
    third = evaluate.under(second)
    evaluate.tell("evaluate", third.traceparent, second.traceparent, now, vantage_camera="yard")


def collect(place: Connection) -> None:
    """A collector until something is sent."""
    with Collector() as found:
        place.send(found.url)
        place.recv()


if __name__ == "__main__":
    main()
