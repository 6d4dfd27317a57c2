"""Telling spans: a service says what took how long, under ids that travel with events and calls.

What the words mean:
- A *trace* is everything that one frame or one call led to; its id is minted once, at its beginning.
- A *span* is one piece of work in it. Its id stands in the `traceparent` of whatever it says, so that the work that
  follows names it as its parent.
- A trace is *kept* or not by its id alone: every process decides the same without being told. From an incident on
  each span is kept, whatever the ratio is.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from schemas.event import type_name
from shared import telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.event import Envelope
    from shared.bus.port import Batch, Handler
    from shared.clock import Clock

Attribute: TypeAlias = str | int | float | bool
Kind = Literal["internal", "server", "client", "producer", "consumer"]
_SPACE = 1 << 64  # of the half of a trace's id that decides


class Span(NamedTuple):
    """A piece of work that is over. Times in microseconds UTC; `here` and `parent` are traceparents."""

    service: str
    name: str
    here: str
    parent: str | None
    started: int
    ended: int
    kind: Kind
    attributes: Mapping[str, Attribute]
    failed: bool


class Sink(Protocol):
    """Takes spans to a collector."""

    def take(self, span: Span) -> None:
        """Take a span; returns at once, whatever becomes of it."""
        ...


class Traces:
    """The traces of one process: where spans go, and which share of them."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.sink: Sink | None = None  # None: nobody traces
        self._bound = round(ratio * _SPACE)

    def of(self, service: str, clock: Clock) -> Spans:
        """The spans of one service."""
        return Spans(self, service, clock)

    def keeps(self, traceparent: str) -> bool:
        """Whether this trace is among the share that is kept."""
        return int(traceparent[19:35], 16) < self._bound


class Spans:
    """Says spans in the name of a service. Where nobody traces everything here does next to nothing."""

    def __init__(self, traces: Traces, service: str, clock: Clock) -> None:
        self._traces = traces
        self._service = service
        self._clock = clock

    @property
    def on(self) -> bool:
        """Whether anybody traces."""
        return self._traces.sink is not None

    def under(self, envelope: Envelope) -> Envelope:
        """The same event under a span of its own: what is said because of it names that span as its parent."""
        if self._traces.sink is None:
            return envelope
        here = telemetry.child(envelope.traceparent)
        return msgspec.structs.replace(envelope, traceparent=here)

    def tell(
        self,
        name: str,
        here: str | None,
        parent: str | None,
        started: int,
        *,
        kind: Kind = "internal",
        always: bool = False,
        failed: bool = False,
        **attributes: Attribute,
    ) -> None:
        """A piece of work that began then is over now. `always`: whatever share of the traces is kept.

        A span whose trace's caller has said that it is not sampled is not told. Of an attribute's name the first
        underscore becomes a dot: `vantage_camera` is `vantage.camera`.
        """
        sink = self._traces.sink
        if sink is None or here is None or here.endswith("-00"):
            return
        if not always and not self._traces.keeps(here):
            return
        named = {key.replace("_", ".", 1): value for key, value in attributes.items()}
        ended = max(started, self._clock.now())
        # A parent that is malformed was not taken over: the trace began anew.
        known = parent if parent is not None and parent[:35] == here[:35] else None
        sink.take(Span(self._service, name, here, known, started, ended, kind, named, failed))

    def handling(self, handler: Handler) -> Handler:
        """A handler of low-rate facts whose events each become a span. A batch has many causes: each gets its own."""

        async def handle(batch: Batch) -> None:
            if not self.on:
                await handler(batch)
                return
            started = self._clock.now()
            under = tuple(self.under(envelope) for envelope in batch.envelopes)
            with _alone(under):
                await handler(msgspec.structs.replace(batch, envelopes=under))
            self._handled(batch.envelopes, under, started)

        return handle

    def _handled(self, causes: Sequence[Envelope], under: Sequence[Envelope], started: int) -> None:
        for cause, envelope in zip(causes, under, strict=True):
            name = type_name(type(cause.event)) if cause.event is not None else "tombstone"
            self.tell(
                f"handle {name}", envelope.traceparent, cause.traceparent, started,
                kind="consumer", always=True, vantage_event=cause.id, vantage_key=cause.key,
                vantage_batch=len(causes),
            )  # fmt: skip


def _alone(under: Sequence[Envelope]) -> AbstractContextManager[object]:
    """What one event's handler says on its own account belongs to that event's span."""
    if len(under) != 1:
        return nullcontext()
    (one,) = under
    return telemetry.trace(one.traceparent, one.correlation or one.id, own=True)
