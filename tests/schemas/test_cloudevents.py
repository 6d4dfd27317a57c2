"""Our binary codec agrees with the official SDK, and refuses what is no event of ours."""

import json
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from schemas import cloudevents
from schemas.event import Envelope, Picture, micros, moment
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamAlive
from tests.schemas.test_examples import EXAMPLES, load


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_official_sdk_reads_what_we_write(path: Path) -> None:
    document, headers, value = load(path)
    event = from_binary(
        KafkaMessage(headers=dict(headers), key=document["key"].encode(), value=value), JSONFormat()
    )
    assert event.get_id() == document["headers"]["ce_id"]
    assert event.get_type() == document["headers"]["ce_type"]
    assert event.get_source() == document["headers"]["ce_source"]
    time = event.get_time()
    assert time is not None
    assert cloudevents.rfc3339(micros(time)) == document["headers"]["ce_time"]
    if "value" in document:
        assert event.get_data() == document["value"]
    else:
        assert event.get_data() == value
        assert event.get_extension("camera") == "yard"


class Still:
    """A picture made of given bytes."""

    def __init__(self, jpeg: bytes) -> None:
        self._jpeg = jpeg

    def jpeg(self) -> bytes:
        return self._jpeg

    def pixels(self) -> object:
        return None


boxes = st.tuples(*[st.floats(0, 1e5, allow_nan=False)] * 4)


@given(
    motion=st.lists(boxes, max_size=5).map(tuple),
    captured_at=st.integers(0, 2**52),
    seq=st.integers(0, 2**40),
)
def test_a_frame_survives_the_headers(
    motion: tuple[tuple[float, float, float, float], ...], captured_at: int, seq: int
) -> None:
    frame = FrameCaptured(
        camera="yard", epoch=1, seq=seq, captured_at=captured_at, read_at=captured_at,
        width=640, height=360, lease=1, motion=motion,
    )  # fmt: skip
    picture: Picture = Still(b"\xff\xd8jpeg")
    sent = Envelope(
        id="1", source="vantage/ingest", topic="frames", key="yard", event=frame, picture=picture
    )
    headers, value = cloudevents.encode(sent)
    read = cloudevents.decode("frames", "yard", headers, value)
    assert read.event == frame
    assert read.picture is not None
    assert read.picture.jpeg() == b"\xff\xd8jpeg"


def headers_of(event: StreamAlive) -> dict[str, bytes]:
    sent = Envelope(id="1", source="s", topic="frames", key="yard", event=event)
    return dict(cloudevents.attributes(sent))


ALIVE = StreamAlive(camera="yard", epoch=1, alive_at=5, lease=1)


@pytest.mark.parametrize(
    ("change", "value", "says"),
    [
        ({"ce_type": b"camera.exploded.v1"}, b"{}", "camera.exploded.v1"),
        ({"ce_type": b"\xff\xfe"}, b"{}", "not UTF-8"),
        (
            {"ce_id": None},
            b'{"camera":"yard","epoch":1,"alive_at":5,"lease":1}',
            "ce_id is missing",
        ),
        ({}, b"not json", "stream.alive.v1"),
        ({}, b'{"camera":"Yard !","epoch":1,"alive_at":5,"lease":1}', "camera"),
        ({}, b'{"camera":"yard","epoch":"1","alive_at":5,"lease":1}', "epoch"),
        ({"ce_type": b"frame.captured.v1"}, b"jpeg", "missing"),
    ],
)
def test_a_record_that_is_no_event_of_ours_is_refused(
    change: dict[str, bytes | None], value: bytes, says: str
) -> None:
    fields: dict[str, bytes | None] = {**headers_of(ALIVE), **change}
    headers = tuple((name, text) for name, text in fields.items() if text is not None)
    with pytest.raises(cloudevents.Undecodable, match=says):
        cloudevents.decode("frames", "yard", headers, value)


def test_a_tombstone_is_an_envelope_without_an_event() -> None:
    sent = Envelope(id="1", source="vantage/vms", topic="cameras", key="yard", event=None)
    headers, value = cloudevents.encode(sent)
    assert value is None
    assert cloudevents.decode("cameras", "yard", headers, value) == sent


def test_a_frame_without_a_picture_is_refused() -> None:
    document = next(path for path in EXAMPLES if path.parent.name == "frame.captured.v1")
    record, headers, value = load(document)
    envelope = cloudevents.decode(record["topic"], record["key"], headers, value)
    bare = Envelope(id="1", source="s", topic="frames", key="yard", event=envelope.event)
    with pytest.raises(ValueError, match="no picture"):
        cloudevents.encode(bare)


@given(st.integers(0, 2**52))
def test_times_survive_exactly(at: int) -> None:
    assert micros(moment(at)) == at


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        micros(moment(0).replace(tzinfo=None))


def test_headers_are_plain_json_for_other_readers() -> None:
    headers, value = cloudevents.encode(
        Envelope(id="1", source="s", topic="frames", key="yard", event=ALIVE)
    )
    assert dict(headers)["content-type"] == b"application/json"
    assert json.loads(value or b"") == {"camera": "yard", "epoch": 1, "alive_at": 5, "lease": 1}
