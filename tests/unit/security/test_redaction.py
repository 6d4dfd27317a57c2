"""Secrets never reach the log: by the field's name, by the text's form, from our own lines and those of libraries."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared import telemetry
from shared.security.redaction import redacted, scrub

CANARY = "canary-7f3a9"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


@pytest.fixture
def sink() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level, before_structlog = root.handlers[:], root.level, structlog.get_config()
    telemetry.configure(level="DEBUG", stream=stream, instance="main")
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**before_structlog)


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp://admin:{CANARY}@10.0.0.7/live",
        f"rtsp://admin:{CANARY}@@10.0.0.7/live",
        f"cannot open rtsp://:{CANARY}@cam/ now",
        f"Authorization: Bearer {CANARY}{CANARY}",
        f"password={CANARY}",
        f'{{"password": "{CANARY}"}}',
        f"https://h/x?token={CANARY}&a=1",
        f"whsec_{CANARY}",
        f"http://127.0.0.1:8000/login#{CANARY}",
    ],
)
def test_forms_of_secrets_are_starred(text: str) -> None:
    assert CANARY not in scrub(text)


@pytest.mark.parametrize("text", ["rtsp://cam/live", "the camera says hello", "a:b@c", "12:30:45"])
def test_other_texts_stay(text: str) -> None:
    assert scrub(text) == text


def test_fields_of_secret_names_are_starred_at_any_depth() -> None:
    given = {"a": [{"password": CANARY, "Authorization": CANARY}], "api_key": CANARY, "b": (1, 2)}
    assert CANARY not in str(redacted(given))
    assert redacted({"camera": "door", "n": 3}) == {"camera": "door", "n": 3}


def test_our_log_lines_hold_no_secret(sink: io.StringIO) -> None:
    log = structlog.get_logger()
    log.info(
        "connecting", url=f"rtsp://u:{CANARY}@cam/", password=CANARY, nested={"secret": CANARY}
    )
    log.warning("token_seen", header=f"Bearer {JWT}")
    try:
        raise ValueError(f"bad url rtsp://u:{CANARY}@cam/ token={CANARY}")
    except ValueError as error:
        log.error("failed", exc_info=error)
    said = sink.getvalue()
    assert len(said.splitlines()) == 3
    assert CANARY not in said
    assert JWT not in said


def test_log_lines_of_libraries_hold_no_secret(sink: io.StringIO) -> None:
    logger = logging.getLogger("some.library")
    logger.warning("cannot open %s", f"rtsp://u:{CANARY}@cam/")
    logger.error("extra", extra={"password": CANARY})
    assert CANARY not in sink.getvalue()
    assert len(sink.getvalue().splitlines()) == 2


def test_a_line_carries_the_ids_of_its_trace(sink: io.StringIO) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with telemetry.trace(parent, "order-7", camera="door"):
        structlog.get_logger().info("working")
        onward = telemetry.traceparent()
    line = json.loads(sink.getvalue())
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (line["correlation"], line["camera"], line["instance"]) == ("order-7", "door", "main")
    assert onward is not None
    assert onward.split("-")[1] == line["trace_id"]
    assert onward != parent
    assert telemetry.traceparent() is None


@pytest.mark.parametrize(
    "bad", [None, "", "00-0-0-01", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "x" * 400]
)
def test_a_malformed_trace_begins_a_new_one(bad: str | None) -> None:
    with telemetry.trace(bad, "bad id\n") as here:
        assert len(here) == 55
        assert telemetry.correlation_id() == here[3:35]
