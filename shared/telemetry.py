"""Logs as JSON lines with correlation ids, and the W3C trace context that travels with calls and events."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

from shared.security.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from structlog.typing import EventDict, Processor

    from shared.bus.port import Batch, Handler

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_CORRELATION = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)
_correlation: ContextVar[str | None] = ContextVar("correlation", default=None)

# Loggers of libraries that say at INFO what nobody asked.
_QUIET = (
    *("httpx", "httpcore", "aiosqlite", "alembic", "aiokafka", "asyncio", "uvicorn.error"),
    *("urllib3", "websockets", "python_multipart", "botocore"),
)
# What it says at each batch that no collector takes, `shared.traces.otlp` says once.
_MUTE = ("opentelemetry",)


def configure(
    *, level: str = "INFO", style: str = "json", stream: TextIO | None = None, **fields: str
) -> None:
    """Send every log line of this process, ours and those of libraries, redacted to `stream` (standard error).

    `fields` (instance, ...) stand on each line.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    logging.getLogger().handlers[:] = [_ours(handler, style, fields)]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_processors(fields),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def keep(handler: logging.Handler, **fields: str) -> None:
    """Send every line there, too, as JSON and redacted like the stream; `fields` as at `configure`."""
    logging.getLogger().addHandler(_ours(handler, "json", fields))


def level() -> str:
    """The level from which lines are written now."""
    return logging.getLevelName(logging.getLogger().level)


def set_level(name: str) -> None:
    """Write lines from this level on; each line asks anew, so it counts at once."""
    root = logging.getLogger()
    root.setLevel(name)
    for quiet in _QUIET:
        logging.getLogger(quiet).setLevel(max(logging.WARNING, root.level))
    for mute in _MUTE:
        logging.getLogger(mute).setLevel(logging.CRITICAL + 1)


def _ours(handler: logging.Handler, style: str, fields: dict[str, str]) -> logging.Handler:
    handler.addFilter(_said_elsewhere)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _logger_name, *_processors(fields)],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _with(fields),
                _redact,  # the message of a library is only put together by now
                _json if style == "json" else structlog.dev.ConsoleRenderer(colors=False),
            ],
        )
    )
    return handler


def _processors(fields: dict[str, str]) -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with(fields),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact,
    ]


@contextmanager
def trace(
    traceparent: str | None = None,
    correlation: str | None = None,
    *,
    own: bool = False,
    **fields: object,
) -> Iterator[str]:
    """Work that belongs to the trace of a call or an event: all log lines in it carry its ids.

    A malformed or missing `traceparent` begins a new trace. Yields the traceparent of this piece of work, which
    goes out with calls and events. `own`: the one given is that of this very piece of work, not of its cause.
    """
    here = traceparent if own and traceparent else child(traceparent)
    correlation = correlation if correlation and _CORRELATION.match(correlation) else here[3:35]
    outer, outer_correlation = _current.set(here), _correlation.set(correlation)
    try:
        with bound_contextvars(trace_id=here[3:35], correlation=correlation, **fields):
            yield here
    finally:
        _current.reset(outer)
        _correlation.reset(outer_correlation)


async def within(handle: Handler, batch: Batch) -> None:
    """Handle a batch of events; where it is one, under its trace and correlation."""
    if len(batch.envelopes) != 1:
        await handle(batch)
        return
    (envelope,) = batch.envelopes
    with trace(envelope.traceparent, envelope.correlation or envelope.id):
        await handle(batch)


def traceparent() -> str | None:
    """The trace context of the work at hand, for what goes out; None outside of `trace`."""
    return _current.get()


def correlation_id() -> str | None:
    """The correlation id of the work at hand; None outside of `trace`."""
    return _correlation.get()


def child(parent: str | None) -> str:
    """A new span of the parent's trace, or of a new trace."""
    match = _TRACEPARENT.match(parent or "")
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    return f"00-{match[1]}-{secrets.token_hex(8)}-{match[3]}"


def _said_elsewhere(record: logging.LogRecord) -> bool:
    """Drop what one of us says better.

    uvicorn reports an error that `shared.http` has logged with its request id. aiokafka reports each of its tries, ten a
    second, as errors: what does not pass is said by our engine (`log_away`) and by health. At DEBUG a person wants them.
    """
    if record.name.startswith("aiokafka") and not record.exc_info:
        return logging.getLogger().level <= logging.DEBUG
    return not str(record.msg).startswith("Exception in ASGI application")


def _with(fields: dict[str, str]) -> Processor:
    def add(_logger: object, _method: str, event: EventDict) -> EventDict:
        for name, value in fields.items():
            event.setdefault(name, value)
        return event

    return add


def _logger_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    kept = {name: value for name, value in event.items() if name.startswith("_")}
    said = {name: value for name, value in event.items() if not name.startswith("_")}
    cleaned = redacted(said)
    return {**cleaned, **kept} if isinstance(cleaned, dict) else kept


def _json(_logger: object, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str, order="deterministic").decode()
