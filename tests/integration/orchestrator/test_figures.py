"""What the orchestrator shows of its work: watermarks and latencies, what came late, and nothing of what it gave up."""

from pathlib import Path

import msgspec

from schemas.event import Event
from schemas.events.stream_marks import StreamClosed
from services.orchestrator.handlers import DetectionHandler
from shared.bus.port import Batch
from shared.clock import ManualClock
from shared.db.checkpoints import Checkpoints
from shared.db.sqlite import open_sqlite
from shared.metrics import Metrics
from shared.traces.port import Span, Traces
from tests.integration.orchestrator.test_checkpoints import PLACE, Log
from tests.unit.orchestrator.happenings import NOON, enters, envelope, frame, knowing, opened, walk

SECOND = 1_000_000


class Rig:
    """A handler on a database of its own, its metrics, and the spans that it tells."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOON + 20 * SECOND)
        self.metrics, self.traces = Metrics(self.clock), Traces(0.0)
        self.spans: list[Span] = []
        self.traces.sink = self
        self.opened = open_sqlite(
            f"sqlite+aiosqlite:///{folder}",
            service="orchestrator",
            clock=self.clock,
            migrations="services.orchestrator.migrations",
        )

    def take(self, span: Span) -> None:
        self.spans.append(span)

    async def __aenter__(self) -> "Rig":
        database = await self.opened.__aenter__()
        self.handler = DetectionHandler(
            database, Checkpoints(database), Log(), self.clock,
            knowledge=knowing(enters()), metrics=self.metrics,
            spans=self.traces.of("orchestrator", self.clock), interval_s=1.0,
        )  # fmt: skip
        await self.handler.assigned(PLACE)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.opened.__aexit__(None, None, None)

    async def hear(self, *events: Event) -> None:
        told = tuple(envelope(event, number) for number, event in enumerate(events))
        await self.handler(Batch(PLACE, told, len(told)))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"vantage_{name}", labels)


async def test_the_watermark_follows_the_events_and_goes_with_the_stream(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.hear(opened(), *walk(10))
        assert rig.value("watermark_delay_seconds", camera="yard") == 18.0
        rig.clock.advance(5)
        assert rig.value("watermark_delay_seconds", camera="yard") == 23.0
        assert rig.value("tracks_live", camera="yard") == 1
        closed = StreamClosed(
            camera="yard", epoch=1, closed_at=NOON + 3 * SECOND, lease=1, reason="off"
        )
        await rig.hear(closed)
        assert rig.value("watermark_delay_seconds", camera="yard") is None
        assert rig.value("tracks_live", camera="yard") is None


async def test_a_partition_that_was_given_up_leaves_no_figure(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.hear(opened(), *walk(10))
        await rig.handler.revoked(PLACE)
        assert rig.value("watermark_delay_seconds", camera="yard") is None
        assert rig.value("tracks_live", camera="yard") is None


async def test_what_came_late_is_counted_and_stages_are_timed(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.hear(opened(), *walk())
        await rig.hear(frame(3, 5.0))
        assert rig.value("late_events_total", camera="yard") == 1
        assert rig.value("stage_latency_seconds_count", stage="tracks") == 61
        assert rig.value("stage_latency_seconds_count", stage="incident") == 1
        latency = rig.value("stage_latency_seconds_sum", stage="incident")
        assert latency is not None
        assert 8 < latency < 20


async def test_only_what_led_to_an_incident_is_told_where_no_trace_is_kept(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        causes = [envelope(event, number) for number, event in enumerate([opened(), *walk()])]
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        told = tuple(msgspec.structs.replace(one, traceparent=parent) for one in causes)
        await rig.handler(Batch(PLACE, told, len(told)))
        (span,) = rig.spans
        assert (span.name, span.parent, span.here[:35]) == ("evaluate", parent, parent[:35])
