"""What is on the log now: how long an alert took to get there, and the span of its waiting in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.event import type_name
from schemas.events.alert_raised import AlertRaised
from shared import telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Envelope
    from shared.clock import Clock
    from shared.metrics import Metrics
    from shared.traces.port import Spans


class OnLog:
    """Told by a relay when the log has acknowledged events of its outbox."""

    def __init__(self, metrics: Metrics, spans: Spans, clock: Clock) -> None:
        self._metrics = metrics
        self._spans = spans
        self._clock = clock

    def __call__(self, envelopes: Sequence[Envelope], since: Sequence[int]) -> None:
        """These events are on the log; each waited since its transaction was begun (microseconds)."""
        now = self._clock.now()
        for envelope, added_at in zip(envelopes, since, strict=True):
            event = envelope.event
            if isinstance(event, AlertRaised):
                self._metrics.reached("alert", event.matched_at, now)
            if event is None or not self._spans.on or envelope.traceparent is None:
                continue
            self._spans.tell(
                f"publish {type_name(type(event))}",
                telemetry.child(envelope.traceparent),
                envelope.traceparent,
                added_at,
                kind="producer",
                always=True,
                vantage_event=envelope.id,
                vantage_key=envelope.key,
            )
