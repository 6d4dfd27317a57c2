"""CloudEvents 1.0 in Kafka binary mode: attributes in `ce_*` headers, the data alone in the value.

A frame's value is its JPEG and its fields travel as extension attributes; every other event's value is JSON.
A null value is a tombstone of a compacted topic.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.catalog import BY_TYPE
from schemas.event import Envelope, Event, Picture, moment, type_name
from schemas.events.frame_captured import FrameCaptured

Headers = tuple[tuple[str, bytes], ...]

_JSON = msgspec.json.Encoder()
_DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    name: msgspec.json.Decoder(event) for name, event in BY_TYPE.items()
}
_FRAME_FIELDS = tuple((field, field.replace("_", "")) for field in FrameCaptured.__struct_fields__)


class Undecodable(ValueError):
    """A record that is no event of ours: its headers or value do not fit the catalog."""


def encode(envelope: Envelope) -> tuple[Headers, bytes | None]:
    """Headers and value of an envelope; the picture of a frame is made a JPEG here.

    Raises:
        ValueError: a frame without a picture.
    """
    headers = attributes(envelope)
    event = envelope.event
    if event is None:
        return headers, None
    if isinstance(event, FrameCaptured):
        if envelope.picture is None:
            raise ValueError(f"frame {envelope.id} has no picture; publish it with one")
        return headers, envelope.picture.jpeg()
    return headers, _JSON.encode(event)


def attributes(envelope: Envelope) -> Headers:
    """The CloudEvents attributes of an envelope as headers, without touching its value."""
    event = envelope.event
    pairs: list[tuple[str, bytes]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_source", envelope.source.encode()),
    ]
    if event is not None:
        pairs.append(("ce_type", type_name(type(event)).encode()))
        pairs.append(("ce_time", rfc3339(event.at).encode()))
        kind = b"image/jpeg" if isinstance(event, FrameCaptured) else b"application/json"
        pairs.append(("content-type", kind))
    if envelope.correlation is not None:
        pairs.append(("ce_correlation", envelope.correlation.encode()))
    if envelope.traceparent is not None:
        pairs.append(("traceparent", envelope.traceparent.encode()))
    if isinstance(event, FrameCaptured):
        pairs.extend(_frame_attributes(event))
    return tuple(pairs)


def decode(
    topic: str,
    key: str,
    headers: Headers,
    value: bytes | None,
    *,
    picture: Picture | None = None,
    partition: int = -1,
    offset: int = -1,
) -> Envelope:
    """The envelope of a record.

    `picture` carries the pixels of an ephemeral record that never left the process; `value` is then ignored.

    Raises:
        Undecodable: an attribute is missing, the type is unknown, or the data does not fit its type.
    """
    fields = dict(headers)
    event: Event | None = None
    if value is not None or picture is not None:
        event = _event(fields, value or b"")
        if isinstance(event, FrameCaptured) and picture is None:
            picture = JpegPicture(value or b"")
    return Envelope(
        id=_text(fields, "ce_id"),
        source=_text(fields, "ce_source"),
        topic=topic,
        key=key,
        event=event,
        picture=picture,
        traceparent=_optional(fields, "traceparent"),
        correlation=_optional(fields, "ce_correlation"),
        partition=partition,
        offset=offset,
    )


def rfc3339(at: int) -> str:
    """Microseconds since the epoch as an RFC 3339 time in UTC."""
    return moment(at).isoformat().replace("+00:00", "Z")


class JpegPicture:
    """A picture that arrived as JPEG; `shared.images` turns it into pixels where those are needed."""

    __slots__ = ("_jpeg",)

    def __init__(self, jpeg: bytes) -> None:
        self._jpeg = jpeg

    def jpeg(self) -> bytes:
        """The picture as it arrived."""
        return self._jpeg

    def pixels(self) -> object:
        """Not here: decoding needs a codec, and the contract has none.

        Raises:
            TypeError: always; use `shared.images.pixels(picture)`.
        """
        raise TypeError("a JPEG off the log has no pixels yet; use shared.images.pixels(picture)")


def _event(fields: dict[str, bytes], value: bytes) -> Event:
    name = _text(fields, "ce_type")
    if name not in _DECODERS:
        raise Undecodable(f"unknown event type {name!r}; is the writer newer than this reader?")
    try:
        if BY_TYPE[name] is FrameCaptured:
            return _frame(fields)
        return _DECODERS[name].decode(value)
    except (msgspec.DecodeError, ValueError) as error:
        raise Undecodable(f"{name}: {error}") from error


def _frame_attributes(event: FrameCaptured) -> list[tuple[str, bytes]]:
    pairs = []
    for field, attribute in _FRAME_FIELDS:
        value = getattr(event, field)
        text = _boxes_text(value) if field == "motion" else str(value)
        pairs.append((f"ce_{attribute}", text.encode()))
    return pairs


def _frame(fields: dict[str, bytes]) -> FrameCaptured:
    values: dict[str, Any] = {}
    for field, attribute in _FRAME_FIELDS:
        text = _text(fields, f"ce_{attribute}")
        values[field] = _boxes(text) if field == "motion" else text
    return msgspec.convert(values, FrameCaptured, strict=False)


def _boxes_text(boxes: tuple[tuple[float, float, float, float], ...]) -> str:
    return ";".join(",".join(repr(side) for side in box) for box in boxes)


def _boxes(text: str) -> list[list[float]]:
    return [[float(side) for side in box.split(",")] for box in text.split(";") if box]


def _text(fields: dict[str, bytes], name: str) -> str:
    value = _optional(fields, name)
    if value is None:
        raise Undecodable(f"header {name} is missing")
    return value


def _optional(fields: dict[str, bytes], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"header {name} is not UTF-8") from error
