"""Every metric of Vantage, by name, in one place; one registry a process, handed down and never global."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """The metrics of one process. Names begin with `vantage_`; units stand in the name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self._declare_doors()
        self._declare_log()
        self._declare_cameras()
        self._declare_incidents()
        self.task_restarts = self._counter(
            "vantage_task_restarts", "Jobs and consumers started again.", "task"
        )
        self.healthy = self._gauge(
            "vantage_healthy", "1 healthy, 0.5 degraded, 0 unhealthy.", "service"
        )

    def _declare_doors(self) -> None:
        self.http_requests = self._counter(
            "vantage_http_requests", "HTTP requests answered.", "method", "route", "status"
        )
        self.http_seconds = self._histogram(
            "vantage_http_request_duration_seconds", "Time to answer.", "method", "route"
        )
        self.sign_ins = self._counter("vantage_sign_ins", "Attempts to sign in.", "outcome")

    def _declare_log(self) -> None:
        self.bus_handled = self._counter("vantage_bus_handled", "Events handled.", "group", "topic")
        self.bus_seconds = self._histogram(
            "vantage_bus_handler_duration_seconds", "Time of one batch.", "group", "topic"
        )
        self.bus_lag = self._gauge(
            "vantage_bus_lag", "Records that wait for a group.", "group", "topic", "partition"
        )
        self.bus_retries = self._counter(
            "vantage_bus_retries", "Batches tried again.", "group", "topic", "error"
        )
        self.bus_dead_letters = self._counter(
            "vantage_bus_dead_letters", "Records put aside.", "group", "topic", "error"
        )
        self.bus_skipped = self._counter(
            "vantage_bus_skipped", "Ephemeral records that a tail never saw.", "group", "topic"
        )
        self.outbox_waiting = self._gauge(
            "vantage_outbox_waiting", "Events that wait to be put on the log.", "service"
        )

    def _declare_cameras(self) -> None:
        self.frames_captured = self._counter(
            "vantage_frames_captured", "Frames that left the reader.", "camera"
        )
        self.frames_dropped = self._counter(
            "vantage_frames_dropped", "Frames that were not looked at.", "camera", "reason"
        )
        self.camera_connects = self._counter(
            "vantage_camera_connects", "Attempts to connect to a camera.", "camera", "outcome"
        )
        self.camera_age = self._gauge(
            "vantage_camera_last_frame_age_seconds", "Age of the newest frame.", "camera"
        )
        self.detections = self._counter(
            "vantage_detections", "Objects detected.", "camera", "label"
        )
        self.inference_seconds = self._histogram(
            "vantage_inference_duration_seconds", "Time of one run of the model.", "model"
        )
        self.inference_frames = self._counter(
            "vantage_inference_frames", "Frames answered.", "camera", "coverage"
        )

    def _declare_incidents(self) -> None:
        self.tracks_live = self._gauge("vantage_tracks_live", "Tracks alive now.", "camera")
        self.rule_seconds = self._histogram(
            "vantage_rule_duration_seconds", "Time of one evaluation.", "camera"
        )
        self.late_events = self._counter(
            "vantage_late_events", "Events that were ignored: too late, or there before.", "topic"
        )
        self.incidents = self._counter(
            "vantage_incidents", "Incidents opened.", "camera", "severity"
        )
        self.incident_moves = self._counter(
            "vantage_incident_transitions", "State changes.", "state"
        )
        self.alerts = self._counter("vantage_alerts", "Alerts raised.", "severity")
        self.alert_latency = self._slow(
            "vantage_alert_latency_seconds", "From the frame's capture to the alert.", "severity"
        )
        self.deliveries = self._counter(
            "vantage_deliveries", "Attempts to deliver.", "channel", "outcome"
        )
        self.delivery_seconds = self._slow(
            "vantage_delivery_duration_seconds", "Time of one attempt.", "channel"
        )
        self.snapshots = self._counter("vantage_snapshots", "Snapshots asked for.", "outcome")
        self.live_viewers = self._gauge("vantage_live_viewers", "Browsers that watch now.")

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return self._timed(name, text, labels, _FAST)

    def _slow(self, name: str, text: str, *labels: str) -> Histogram:
        return self._timed(name, text, labels, _SLOW)

    def _timed(
        self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


class BusObserver:
    """What the bus engines tell, as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def handled(self, group: str, topic: str, count: int, seconds: float) -> None:
        """A batch had its effect."""
        self._metrics.bus_handled.labels(group, topic).inc(count)
        self._metrics.bus_seconds.labels(group, topic).observe(seconds)

    def retried(self, group: str, topic: str, error: str) -> None:
        """A batch will be tried again."""
        self._metrics.bus_retries.labels(group, topic, error).inc()

    def parked(self, group: str, topic: str, error: str) -> None:
        """A record was put aside."""
        self._metrics.bus_dead_letters.labels(group, topic, error).inc()

    def skipped(self, group: str, topic: str, count: int) -> None:
        """Records were dropped unread."""
        self._metrics.bus_skipped.labels(group, topic).inc(count)

    def lag(self, group: str, topic: str, partition: int, records: int) -> None:
        """So many records wait."""
        self._metrics.bus_lag.labels(group, topic, str(partition)).set(records)
