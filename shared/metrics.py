"""Every metric of Vantage, by name, in one place; one registry a process, handed down and never global.

Names follow Prometheus' guide: base units, `_total` for what only grows, `_info` for a constant 1 with facts as
labels. Labels are bounded by what is configured (cameras, topics, groups, models), never by what happens.
`docs/metrics.md` is made from what is declared here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from shared.clock import SystemClock
from shared.shelves import Ages, Declared, Shelf

if TYPE_CHECKING:
    from shared.clock import Clock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_STAGES = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)
_COUNTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 100)

Stage = Literal["detections", "tracks", "incident", "alert", "delivered"]
"""What a frame's capture has led to by then."""

EVERY = "every process"


class Metrics:
    """The metrics of one process. Names begin with `vantage_`; units stand in the name."""

    def __init__(self, clock: Clock | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own; a second series for each
        self.registry = CollectorRegistry(auto_describe=True)
        self.declared: list[Declared] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self._clock = clock or SystemClock()
        self._declare_process()
        self._declare_host()
        self._declare_doors()
        self._declare_log()
        self._declare_databases()
        self._declare_cameras()
        self._declare_inference()
        self._declare_rules()
        self._declare_incidents()
        self._declare_deliveries()

    def _declare_process(self) -> None:
        of = self._shelf(EVERY)
        self.build = of.gauge("build_info", "1, with what runs.", "version")
        self.healthy = of.gauge("healthy", "1 healthy, 0.5 degraded, 0 unhealthy.", "service")
        self.task_restarts = of.counter(
            "task_restarts", "Jobs and consumers started again.", "task"
        )
        self.spans_lost = of.counter(
            "trace_spans_lost", "Spans that no collector has taken.", "reason"
        )

    def _declare_host(self) -> None:
        of = self._shelf(EVERY)
        self.host_cpu = of.pulled_counter(
            "host_cpu_seconds", "Time of all cores of the host, by what they did.", "mode"
        )
        self.host_memory = of.pulled("host_memory_bytes", "Memory of the host.", "state")
        self.host_disk = of.pulled("host_disk_bytes", "The disk under the data folder.", "state")

    def _declare_doors(self) -> None:
        of = self._shelf(EVERY)
        self.http_requests = of.counter(
            "http_requests", "HTTP requests answered.", "method", "route", "status"
        )
        self.http_seconds = of.histogram(
            "http_request_duration_seconds", "Time to answer.", "method", "route", buckets=_FAST
        )
        gateway = self._shelf("gateway")
        self.sign_ins = gateway.counter("sign_ins", "Attempts to sign in.", "outcome")
        self.active_sessions = gateway.gauge(
            "active_sessions", "Sessions that were neither ended nor left idle for too long."
        )
        dashboard = self._shelf("dashboard")
        self.websockets = dashboard.gauge(
            "websocket_connections", "Live views that are open: browsers that watch now."
        )
        self.pictures_skipped = dashboard.counter(
            "live_pictures_skipped", "Pictures that a newer one replaced before a page took them."
        )

    def _declare_log(self) -> None:
        of = self._shelf(EVERY)
        self.bus_handled = of.counter("bus_handled", "Events handled.", "group", "topic")
        self.bus_seconds = of.histogram(
            "bus_handler_duration_seconds", "Time of one batch.", "group", "topic", buckets=_FAST
        )
        self.bus_lag = of.pulled(
            "bus_lag", "Records that wait for a group.", "group", "topic", "partition"
        )
        self.bus_queue = of.pulled(
            "bus_queue_depth", "Records fetched and not handled yet.", "group", "topic"
        )
        self.bus_stuck = of.pulled(
            "bus_consumer_stuck", "1 while there is lag and no commit.", "consumer"
        )
        self.bus_stopped = of.pulled(
            "bus_consumer_stopped", "1 where too many dead letters stopped it.", "consumer"
        )
        self.bus_retries = of.counter(
            "bus_retries", "Batches tried again.", "group", "topic", "error"
        )
        self.bus_dead_letters = of.counter(
            "bus_dead_letters", "Records put aside.", "group", "topic", "error"
        )
        self.bus_skipped = of.counter(
            "bus_skipped", "Ephemeral records that a tail never saw.", "group", "topic"
        )

    def _declare_databases(self) -> None:
        of = self._shelf("each service with a database")
        self.pool_connections = of.pulled(
            "db_pool_connections", "Connections of a pool.", "service", "pool", "state"
        )
        self.pool_limit = of.pulled(
            "db_pool_limit_connections", "Most connections of a pool.", "service", "pool"
        )
        self.outbox_waiting = of.gauge(
            "outbox_waiting", "Events that wait to be put on the log.", "service"
        )
        self.outbox_age = of.gauge(
            "outbox_oldest_age_seconds", "How long the oldest of them waits.", "service"
        )

    def _declare_cameras(self) -> None:
        of = self._shelf("ingest")
        self.camera_up = of.gauge("camera_up", "1 while pictures come, else 0.", "camera")
        self.frames_captured = of.counter(
            "frames_captured", "Frames that left the reader.", "camera"
        )
        self.camera_connects = of.counter(
            "camera_connects", "Attempts to connect to a camera.", "camera", "outcome"
        )
        ages = of.pulled("camera_last_frame_age_seconds", "Age of the newest frame.", "camera")
        self.camera_ages = Ages(ages, self._clock)
        self.frames_dropped = self._shelf("ingest, inference").counter(
            "frames_dropped",
            "Frames that were not looked at; by the reader, by the log, or at admission "
            "(`newer`: a newer one took its place, `late`: too old, `stale`: not the lease holder's).",
            "camera",
            "reason",
        )

    def _declare_inference(self) -> None:
        of = self._shelf("inference")
        self.inference_frames = of.counter(
            "inference_frames", "Frames answered.", "camera", "coverage"
        )
        self.inference_seconds = of.histogram(
            "inference_duration_seconds", "Time of one run of the model.", "model", buckets=_FAST
        )
        self.inference_queue = of.pulled(
            "inference_queue_depth", "Events that wait: for their turn, to be said.", "queue"
        )
        self.detections = of.counter("detections", "Objects detected.", "camera", "label")
        self.detections_per_frame = of.histogram(
            "detections_per_frame", "Objects in a frame.", "camera", buckets=_COUNTS
        )
        self.models = of.pulled(
            "model_info", "1, for each model that is loaded.", "model", "version", "backend"
        )
        self.snapshots = of.counter("snapshots", "Snapshots asked for.", "outcome")

    def _declare_rules(self) -> None:
        of = self._shelf("orchestrator")
        delays = of.pulled(
            "watermark_delay_seconds", "Age of the newest event time that was handled.", "camera"
        )
        self.watermarks = Ages(delays, self._clock)
        self.tracks_live = of.gauge("tracks_live", "Tracks alive now.", "camera")
        self.rule_seconds = of.histogram(
            "rule_duration_seconds", "Time of one evaluation.", "camera", buckets=_FAST
        )
        self.late_events = of.counter(
            "late_events", "Detections out of order, seen before, or fenced off.", "camera"
        )
        self.near_misses = of.counter(
            "rule_near_misses", "Rules that nearly fired.", "camera", "rule"
        )
        self.coverage_gaps = of.counter(
            "rule_coverage_gaps",
            "Times a rule could not be decided since nobody looked.",
            "camera",
            "rule",
        )
        self.coverage_gap_seconds = of.counter(
            "rule_coverage_gap_seconds", "How long in all.", "camera", "rule"
        )

    def _declare_incidents(self) -> None:
        of = self._shelf("orchestrator")
        self.incidents = of.counter("incidents", "Incidents opened.", "camera", "severity")
        self.incident_moves = of.counter("incident_transitions", "State changes.", "state")
        self.alerts = of.counter("alerts", "Alerts raised.", "severity")
        self.alert_latency = of.histogram(
            "alert_latency_seconds",
            "From the frame's capture to the decision to alert.",
            "severity",
            buckets=_SLOW,
        )
        self.stage_seconds = self._shelf("inference, orchestrator, notifier").histogram(
            "stage_latency_seconds",
            "From the capture of the frame (that completed the match) to: its detections said, its tracks said, "
            "the incident stored, the alert on the log, a delivery taken. Below 0 (clocks of two hosts) counts as 0.",
            "stage",
            buckets=_STAGES,
        )

    def _declare_deliveries(self) -> None:
        of = self._shelf("notifier")
        self.deliveries = of.counter("deliveries", "Attempts to deliver.", "channel", "outcome")
        self.delivery_seconds = of.histogram(
            "delivery_duration_seconds", "Time of one attempt.", "channel", buckets=_SLOW
        )
        self.deliveries_waiting = of.gauge(
            "deliveries_waiting", "Deliveries that are due now, and that are tried later.", "state"
        )

    def reached(self, stage: Stage, captured_at: int, now: int) -> None:
        """What was captured then (event time, microseconds) has come as far as this stage now."""
        self.stage_seconds.labels(stage).observe(max(0, now - captured_at) / 1_000_000)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format. Reads the host and the disk: call it in a thread."""
        return generate_latest(self.registry)

    def _shelf(self, service: str) -> Shelf:
        return Shelf(self.registry, self.declared, service)


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
        """Nothing: lag is read off the lanes at each scrape, so that a partition given up leaves none behind."""
