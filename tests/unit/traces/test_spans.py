"""Spans as a collector gets them: whole, thinned by trace, under the right parent; and a collector that is away."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from schemas.event import Envelope
from schemas.events.camera_status_changed import CameraStatusChanged
from shared import telemetry
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock
from shared.metrics import Metrics
from shared.traces import otlp
from shared.traces.otlp import open_otlp
from shared.traces.port import Spans, Traces
from tests.engines.collector import Collector

NOW = 1_790_000_000_000_000
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def tracing(ratio: float = 1.0) -> Traces:
    return Traces(ratio)


def until(answer: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lost(metrics: Metrics, reason: str) -> float:
    return (
        metrics.registry.get_sample_value("vantage_trace_spans_lost_total", {"reason": reason})
        or 0.0
    )


def test_a_span_arrives_whole(collector: Collector, metrics: Metrics) -> None:
    traces, clock = tracing(), ManualClock(NOW)
    spans = traces.of("ingest", clock)
    here = telemetry.child(PARENT)
    clock.advance(0.25)
    with open_otlp(collector.url, instance="main", version="1", lost=metrics.spans_lost) as sink:
        traces.sink = sink
        spans.tell("capture", here, PARENT, NOW, vantage_camera="yard", vantage_detections=3)
    (span,) = collector.spans
    assert (span.service, span.name) == ("ingest", "capture")
    assert (span.trace, span.span, span.parent) == (here[3:35], here[36:52], PARENT[36:52])
    assert (span.started, span.ended) == (NOW * 1000, (NOW + 250_000) * 1000)
    assert span.attributes["vantage.camera"] == 'string_value: "yard"'
    assert lost(metrics, "not_taken") == 0


def test_the_share_of_traces_is_decided_by_their_ids_and_what_counts_is_always_told() -> None:
    told: list[str] = []
    traces = tracing(0.25)
    traces.sink = Kept(told)
    spans = traces.of("ingest", ManualClock(NOW))
    ids = [telemetry.child(None) for _ in range(4000)]
    for one in ids:
        spans.tell("capture", one, None, NOW)
        spans.tell("detect", one, None, NOW)
    assert 800 < len(told) / 2 < 1200
    assert told[::2] == told[1::2]  # a trace is told whole or not at all
    told.clear()
    spans.tell("evaluate", next(i for i in ids if not traces.keeps(i)), None, NOW, always=True)
    assert len(told) == 1


class Kept:
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def take(self, span: object) -> None:
        self._told.append(span.here)  # type: ignore[attr-defined]


def test_what_the_caller_does_not_sample_is_not_told() -> None:
    told: list[str] = []
    traces = tracing()
    traces.sink = Kept(told)
    spans = traces.of("gateway", ManualClock(NOW))
    spans.tell("GET /", telemetry.child(PARENT[:-2] + "00"), None, NOW)
    spans.tell("GET /", None, None, NOW)
    assert told == []


def test_a_malformed_parent_is_no_parent(collector: Collector, metrics: Metrics) -> None:
    traces = tracing()
    with open_otlp(collector.url, instance="main", version="1", lost=metrics.spans_lost) as sink:
        traces.sink = sink
        bad = "00-zz\n"
        traces.of("gateway", ManualClock(NOW)).tell("GET /", telemetry.child(bad), bad, NOW)
    assert [span.parent for span in collector.spans] == [""]


def test_nobody_traces_nothing_changes() -> None:
    spans = tracing().of("ingest", ManualClock(NOW))
    envelope = event()
    assert spans.under(envelope) is envelope
    spans.tell("capture", envelope.traceparent, None, NOW)


async def test_a_batch_of_many_causes_becomes_a_span_of_each(
    collector: Collector, metrics: Metrics
) -> None:
    traces, seen = tracing(), list[str | None]()

    async def handle(batch: Batch) -> None:
        seen.extend(one.traceparent for one in batch.envelopes)

    causes = (event("a"), event("b"), event("c"))
    with open_otlp(collector.url, instance="main", version="1", lost=metrics.spans_lost) as sink:
        traces.sink = sink
        handler = traces.of("vms", ManualClock(NOW)).handling(handle)
        await handler(Batch(Partition("alerts", 0), causes, 3))
    assert [one.name for one in collector.spans] == ["handle camera.status-changed.v1"] * 3
    by_span = {one.span: one for one in collector.spans}
    for cause, under in zip(causes, seen, strict=True):
        assert cause.traceparent is not None
        assert under is not None
        told = by_span[under[36:52]]
        assert (told.trace, told.parent) == (cause.traceparent[3:35], cause.traceparent[36:52])


async def test_what_the_handler_of_one_event_says_belongs_to_its_span() -> None:
    traces, found = tracing(), list[tuple[str | None, str | None]]()
    traces.sink = Kept([])

    async def handle(batch: Batch) -> None:
        found.append((telemetry.traceparent(), batch.envelopes[0].traceparent))

    await traces.of("vms", ManualClock(NOW)).handling(handle)(
        Batch(Partition("alerts", 0), (event(),), 1)
    )
    ((here, under),) = found
    assert here == under


def test_a_collector_that_is_away_costs_nothing_but_the_spans(metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with open_otlp(url, instance="main", version="1", lost=metrics.spans_lost) as sink:
            traces = tracing()
            traces.sink = sink
            spans = traces.of("ingest", ManualClock(NOW))
            fill(spans, otlp.ROOM + 500)
            until(lambda: lost(metrics, "not_taken") >= otlp.TOGETHER)
    assert lost(metrics, "queue_full") >= 1


def test_it_goes_on_when_the_collector_is_back(collector: Collector, metrics: Metrics) -> None:
    collector.refuse = 400  # final: it is not tried again
    traces = tracing()
    with open_otlp(collector.url, instance="main", version="1", lost=metrics.spans_lost) as sink:
        traces.sink = sink
        spans = traces.of("ingest", ManualClock(NOW))
        fill(spans, 10)
        until(lambda: lost(metrics, "not_taken") == 10)
        collector.refuse = None
        fill(spans, 5)
        until(lambda: len(collector.spans) == 5)


def fill(spans: Spans, count: int) -> None:
    for _ in range(count):
        spans.tell("capture", telemetry.child(None), None, NOW)


def event(name: str = "a") -> Envelope:
    status = CameraStatusChanged(
        camera=name, state="online", reason="", changed_at=NOW, epoch=1, lease=1
    )
    return Envelope(
        id=name, source="/t", topic="camera-status", key=name, event=status,
        traceparent=telemetry.child(None), correlation=name,
    )  # fmt: skip
