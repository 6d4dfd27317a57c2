"""Saying events: what a service may say, ids, and the trace that goes along."""

import secrets
import uuid
from collections.abc import Iterable, Sequence

from schemas.cloudevents import attributes, encode
from schemas.event import Envelope, Event, Picture, Topic
from schemas.events.frame_captured import FrameCaptured
from shared import telemetry
from shared.bus.port import Log, Message


class ServicePublisher:
    """A `Publisher` bound to one service; `source` is the CloudEvents source, e.g. `/vantage/ingest/main`."""

    def __init__(
        self,
        log: Log,
        service: str,
        produces: Iterable[Topic],
        source: str = "",
        *,
        timeout: float = 15.0,
    ) -> None:
        self._log = log
        self._service = service
        self._source = source or f"/vantage/{service}"
        self._produces = frozenset(topic.name for topic in produces)
        self._timeout = timeout

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """See `Publisher.publish`."""
        for envelope in envelopes:
            self._check(envelope)
        if envelopes:
            await self._log.append([message(e) for e in envelopes], timeout=self._timeout)

    def mint(
        self,
        event: Event,
        *,
        id: str | None = None,
        topic: Topic | None = None,
        picture: Picture | None = None,
        cause: Envelope | None = None,
    ) -> Envelope:
        """See `Publisher.mint`. An event without a cause belongs to the call at hand, or starts a trace."""
        here, correlation = telemetry.traceparent() or new_trace(), telemetry.correlation_id()
        return Envelope(
            id=id or str(uuid.uuid4()),
            source=self._source,
            topic=(topic or event.topics[0]).name,
            key=event.key,
            event=event,
            picture=picture,
            traceparent=cause.traceparent if cause is not None else here,
            correlation=(cause.correlation or cause.id) if cause is not None else correlation,
        )

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        """See `Publisher.tombstone`."""
        if topic.kind != "compacted":
            raise ValueError(f"{topic.name} is not compacted: nothing of it can be deleted by key")
        return Envelope(
            id=str(uuid.uuid4()), source=self._source, topic=topic.name, key=key, event=None
        )

    def _check(self, envelope: Envelope) -> None:
        if envelope.topic not in self._produces:
            raise PermissionError(
                f"{self._service} does not declare {envelope.topic!r} in `produces` of its SERVICE"
            )
        event = envelope.event
        if event is not None and envelope.topic not in {topic.name for topic in event.topics}:
            raise PermissionError(f"{type(event).__name__} does not live on {envelope.topic!r}")


def message(envelope: Envelope) -> Message:
    """The message of an envelope; a picture stays as it is, the adapter encodes it if it must leave the process."""
    if isinstance(envelope.event, FrameCaptured) and envelope.picture is not None:
        headers, value = attributes(envelope), None
    else:
        headers, value = encode(envelope)
    return Message(
        topic=envelope.topic,
        key=envelope.key,
        value=value,
        headers=headers,
        picture=envelope.picture if value is None else None,
    )


def new_trace() -> str:
    """A W3C `traceparent` that begins a sampled trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
