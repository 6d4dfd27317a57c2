"""The job that sends: claims due deliveries, tries each once, writes down what it came to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Literal

import structlog

from schemas.events.delivery_changed import DeliveryChanged
from services.notifier.channels.port import Message, Target
from services.notifier.domain import SECOND, Answer, judge, next_try
from shared import telemetry
from shared.errors import Transient
from shared.traces.port import Traces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.notifier.channels.port import ChannelKind
    from services.notifier.handlers import CameraNames
    from services.notifier.messages import Messages
    from services.notifier.store import Channel, Delivery, Store
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.metrics import Metrics
    from shared.traces.port import Spans

log = structlog.get_logger()

CLAIM = 120 * SECOND  # longer than any try: who dies in the act is followed after this time
POLL = 1.0
COUNT_S = 10.0

State = Literal["delivered", "retrying", "failed"]


class Sender:
    """Sends what is due. A slow channel holds at most `per_channel` tries and never another channel."""

    def __init__(
        self,
        database: Database,
        store: Store,
        publisher: Publisher,
        clock: Clock,
        *,
        kinds: Mapping[str, ChannelKind],
        messages: Messages,
        cameras: CameraNames,
        open_secret: Callable[[Channel], tuple[str, ...]],
        jitter: Callable[[], float],
        owner: str,
        metrics: Metrics,
        spans: Spans | None = None,
        per_channel: int = 8,
        in_flight: int = 64,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._kinds = kinds
        self._messages = messages
        self._cameras = cameras
        self._open_secret = open_secret
        self._jitter = jitter
        self._owner = owner
        self._metrics = metrics
        self._spans = spans or Traces().of("notifier", clock)
        self._per_channel = per_channel
        self._in_flight = in_flight
        self._busy: Counter[str] = Counter()
        self._due = asyncio.Event()

    def wake(self) -> None:
        """Something may be due now."""
        self._due.set()

    async def run(self) -> None:
        """Send until cancelled. Claims that an earlier life of this owner left behind are taken up at once."""
        async with self._database.transaction() as tx:
            await self._store.release(tx, self._owner)
        async with asyncio.TaskGroup() as tries:
            while True:
                self._due.clear()
                for delivery in await self._claim():
                    self._busy[delivery.channel] += 1
                    tries.create_task(self._try(delivery))
                # Not wait_for: in Python 3.11 it loses a cancellation that meets the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._due.wait()

    async def count(self) -> None:
        """Keep the gauge of what waits, until cancelled."""
        gauge = self._metrics.deliveries_waiting
        while True:
            with contextlib.suppress(Transient):
                due, later = await self._store.waiting(self._clock.now())
                gauge.labels("due").set(due)
                gauge.labels("later").set(later)
            await asyncio.sleep(COUNT_S)

    async def _claim(self) -> list[Delivery]:
        room = self._in_flight - self._busy.total()
        if room <= 0:
            return []
        now = self._clock.now()
        due = await self._store.next_due()
        if due is None or due > now:
            return []
        full = [channel for channel, tries in self._busy.items() if tries >= self._per_channel]
        async with self._database.transaction() as tx:
            return await self._store.claim(
                tx, self._owner, now, now + CLAIM, limit=min(room, self._per_channel), skip=full
            )

    async def _try(self, delivery: Delivery) -> None:
        try:
            with telemetry.trace(delivery.traceparent, delivery.correlation) as here:
                started, began = self._clock.now(), self._clock.monotonic()
                answer = await self._send(delivery)
                took_ms = round((self._clock.monotonic() - began) * 1000)
                state = await self._settle(delivery, answer, took_ms)
                self._spans.tell(
                    "deliver", here, delivery.traceparent, started, kind="client", always=True,
                    failed=state != "delivered", vantage_delivery=delivery.id,
                    vantage_channel=delivery.kind, vantage_state=state,
                    vantage_attempt=delivery.attempt + 1,
                )  # fmt: skip
        finally:
            self._busy[delivery.channel] -= 1
            self._due.set()

    async def _send(self, delivery: Delivery) -> Answer:
        channel = await self._store.channel(delivery.channel)
        if channel is None:
            return Answer(status=410, detail="the channel was removed")
        if not channel.enabled:
            return Answer(status=0, detail=f"the channel is off: {channel.disabled_reason}")
        message = Message(
            id=delivery.id,
            timestamp=self._clock.now() // SECOND,
            body=self._messages.webhook(
                delivery.alert,
                camera_name=self._cameras.name(delivery.alert.camera, delivery.alert.camera_name),
                incident_state=delivery.incident_state,
            ),
        )
        target = Target(url=channel.url, secrets=self._open_secret(channel))
        return await self._kinds[channel.kind].send(message, target)

    async def _settle(self, delivery: Delivery, answer: Answer, took_ms: int) -> State:
        now = self._clock.now()
        verdict = judge(answer)
        next_at = None
        if verdict == "retry":
            next_at = next_try(delivery.attempt + 1, now, answer, self._jitter())
        state: State = "retrying" if next_at is not None else "failed"
        if verdict == "delivered":
            state = "delivered"
        async with self._database.transaction() as tx:
            ours = await self._store.settle(
                tx, delivery, state=state, next_at=next_at, answer=answer, took_ms=took_ms, now=now,
                owner=self._owner,
            )  # fmt: skip
            if not ours:
                log.warning("delivery_overtaken", delivery=delivery.id, detail=answer.detail)
                return state
            if verdict == "gone":
                await self._store.change_channel(
                    tx, delivery.channel, enabled=False, disabled_reason=answer.detail
                )
            event = _changed(delivery, state, next_at, answer, now)
            await tx.add([self._publisher.mint(event)])
        if state == "delivered":
            self._metrics.reached("delivered", delivery.alert.matched_at, now)
        self._metrics.deliveries.labels(delivery.kind, state).inc()
        self._metrics.delivery_seconds.labels(delivery.kind).observe(took_ms / 1000)
        log.info(
            "delivery_tried", delivery=delivery.id, channel=delivery.channel, state=state,
            attempt=delivery.attempt + 1, detail=answer.detail,
        )  # fmt: skip
        return state


def _changed(
    delivery: Delivery, state: State, next_at: int | None, answer: Answer, now: int
) -> DeliveryChanged:
    alert = delivery.alert
    return DeliveryChanged(
        delivery=delivery.id,
        alert=alert.alert,
        incident=alert.incident,
        camera=alert.camera,
        subscription=delivery.subscription,
        channel="console" if delivery.kind == "console" else "webhook",
        severity=alert.severity,
        title=alert.title,
        summary=alert.summary,
        state=state,
        attempt=delivery.attempt + 1,
        changed_at=now,
        next_at=next_at,
        detail=answer.detail,
    )
