"""A service says what it declares, and hands on where it came from."""

import re
from collections.abc import AsyncIterator

import pytest

from schemas import topics
from schemas.event import Envelope
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus.memory import open_memory
from shared.bus.port import Log
from shared.bus.publisher import ServicePublisher
from tests.contract.bus import everything

STATUS = CameraStatusChanged(camera="gate", state="online", changed_at=1)


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    async with open_memory() as log:
        yield log


def publisher(log: Log) -> ServicePublisher:
    produces = (topics.CAMERA_STATUS, topics.CAMERAS)
    return ServicePublisher(log, "ingest", produces, "/vantage/ingest/one")


async def test_what_is_said_is_on_the_log(log: Log) -> None:
    said = publisher(log)
    await said.publish([said.mint(STATUS, id="s1"), said.tombstone(topics.CAMERAS, "gate")])
    [status] = await everything(log, topics.CAMERA_STATUS)
    [gone] = await everything(log, topics.CAMERAS)
    assert dict(status.headers)["ce_id"] == b"s1"
    assert dict(status.headers)["ce_source"] == b"/vantage/ingest/one"
    assert (gone.key, gone.value) == ("gate", None)


async def test_an_undeclared_topic_is_refused(log: Log) -> None:
    alert = Envelope(id="a", source="/x", topic="alerts", key="gate", event=STATUS)
    with pytest.raises(PermissionError, match="ingest does not declare 'alerts'"):
        await publisher(log).publish([alert])


async def test_an_event_on_a_foreign_topic_is_refused(log: Log) -> None:
    said = publisher(log)
    wrong = said.mint(STATUS, topic=topics.CAMERAS)
    with pytest.raises(PermissionError, match="does not live on 'cameras'"):
        await said.publish([said.mint(STATUS), wrong])
    assert not await everything(log, topics.CAMERA_STATUS)


def test_minted_ids_are_random_and_traces_well_formed(log: Log) -> None:
    said = publisher(log)
    one, two = said.mint(STATUS), said.mint(STATUS)
    assert one.id != two.id
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", one.traceparent or "")
    assert (one.topic, one.key, one.correlation) == ("camera-status", "gate", None)


def test_a_cause_hands_on_its_trace_and_correlation(log: Log) -> None:
    said = publisher(log)
    first = said.mint(STATUS)
    second = said.mint(STATUS, cause=first)
    third = said.mint(STATUS, cause=second)
    assert second.correlation == third.correlation == first.id
    assert third.traceparent == first.traceparent


def test_only_compacted_topics_know_tombstones(log: Log) -> None:
    with pytest.raises(ValueError, match="not compacted"):
        publisher(log).tombstone(topics.ALERTS, "gate")
