"""Spans to an OpenTelemetry collector by OTLP over HTTP: in batches, by a thread of its own, never waited for."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import Counter

    from shared.traces.port import Span

ROOM = 4096  # spans that wait; past that the newest are lost
TOGETHER = 256
EVERY_S = 1.0
PATIENCE_S = 5.0  # for one batch, its retries included
LEAVING_S = 2.0
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAILED, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)
log = structlog.get_logger(component="traces")


class Otlp:
    """A `Sink`. What the collector does not take in time is lost and counted; nothing waits for it."""

    def __init__(self, endpoint: str, *, instance: str, version: str, lost: Counter) -> None:
        self._instance = instance
        self._version = version
        self._lost = lost
        self._scope = InstrumentationScope("vantage", version)
        self._resources: dict[str, Resource] = {}
        exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=PATIENCE_S
        )
        self._exporter = _Counting(exporter, endpoint, lost)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=ROOM,
            schedule_delay_millis=EVERY_S * 1000,
            max_export_batch_size=TOGETHER,
        )
        self._taken = 0

    def take(self, span: Span) -> None:
        """See `Sink.take`."""
        if self._taken - self._exporter.done >= ROOM:
            self._lost.labels("queue_full").inc()
            return
        self._taken += 1
        self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """Send what waits, for at most two seconds."""
        leaving = threading.Thread(target=self._processor.shutdown, daemon=True)
        leaving.start()
        leaving.join(LEAVING_S)

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.here),
            parent=_context(span.parent) if span.parent else None,
            resource=self._resource(span.service),
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=_FAILED if span.failed else _UNSET,
            start_time=span.started * 1000,
            end_time=span.ended * 1000,
            instrumentation_scope=self._scope,
        )

    def _resource(self, service: str) -> Resource:
        found = self._resources.get(service)
        if found is None:
            facts = {
                "service.namespace": "vantage",
                "service.name": service,
                "service.instance.id": self._instance,
                "service.version": self._version,
            }
            found = self._resources[service] = Resource(facts)
        return found


class _Counting(SpanExporter):
    """Counts what was not taken, and says so once, not at every batch."""

    def __init__(self, inner: SpanExporter, endpoint: str, lost: Counter) -> None:
        self.done = 0  # written by the exporting thread alone
        self._inner = inner
        self._endpoint = endpoint
        self._lost = lost
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        self.done += len(spans)
        if result is SpanExportResult.SUCCESS:
            if self._away:
                log.info("traces_taken_again", endpoint=self._endpoint)
            self._away = False
            return result
        self._lost.labels("not_taken").inc(len(spans))
        if not self._away:
            log.warning(
                "traces_not_taken",
                endpoint=self._endpoint,
                remedy="start the collector or correct VANTAGE_OTLP_ENDPOINT",
            )
        self._away = True
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int | None = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis or 30_000)


@contextmanager
def open_otlp(endpoint: str, *, instance: str, version: str, lost: Counter) -> Iterator[Otlp]:
    """A sink to the collector at `endpoint` (scheme, host and port; `/v1/traces` is added). Never fails for its absence."""
    sink = Otlp(endpoint, instance=instance, version=version, lost=lost)
    try:
        yield sink
    finally:
        sink.close()


def _context(traceparent: str) -> SpanContext:
    return SpanContext(
        int(traceparent[3:35], 16),
        int(traceparent[36:52], 16),
        is_remote=False,
        trace_flags=_SAMPLED,
    )
