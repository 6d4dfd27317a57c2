"""Viewers: messages in order, pictures newest first, and who does not read is cut off."""

import asyncio
import json

from schemas import cloudevents
from schemas.event import Envelope
from schemas.events.camera_configured import CameraConfigured
from services.dashboard.domain import picture, shown
from services.dashboard.handlers import Cameras, Happenings, Pictures
from services.dashboard.hub import Hub
from shared.bus.port import Batch, Partition
from tests.schemas.test_examples import EXAMPLES, load


def example(name: str) -> Envelope:
    path = next(path for path in EXAMPLES if f"{path.parent.name}/{path.stem}" == name)
    document, headers, value = load(path)
    return cloudevents.decode(document["topic"], document["key"], headers, value)


def batch(*envelopes: Envelope) -> Batch:
    return Batch(partition=Partition("t", 0), envelopes=envelopes, next_offset=len(envelopes))


def hub(backlog: int = 8) -> Hub:
    return Hub(limit=2, backlog=backlog)


async def texts(viewer: object) -> list[dict[str, object]]:
    return [json.loads(item) for item in await viewer.next() if isinstance(item, str)]  # type: ignore[attr-defined]


async def test_a_new_viewer_is_told_the_present_state() -> None:
    one = hub()
    await Cameras(one)(batch(example("camera.configured.v1/with-zones")))
    await Happenings(one)(batch(example("camera.status-changed.v1/online")))
    viewer = one.join()
    assert viewer is not None
    (hello,) = await texts(viewer)
    assert hello["type"] == "hello"
    assert [camera["name"] for camera in hello["cameras"]] == ["Back yard"]  # type: ignore[attr-defined]
    assert [status["state"] for status in hello["status"]] == ["online"]  # type: ignore[attr-defined]


async def test_neither_url_nor_credentials_reach_the_page() -> None:
    event = example("camera.configured.v1/with-zones").event
    assert isinstance(event, CameraConfigured)
    told = json.dumps(shown(event))
    assert "rtsp" not in told
    assert event.credentials not in told


async def test_messages_come_in_order_and_a_picture_replaces_its_elder() -> None:
    one = hub()
    viewer = one.join()
    assert viewer is not None
    await Happenings(one)(
        batch(example("alert.raised.v1/zone-entered"), example("incident.moved.v1/first"))
    )
    frame = example("frame.captured.v1/frame")
    await Pictures(one)(batch(frame))
    await Pictures(one)(batch(frame, example("frame.captured.v1/frame-still")))
    out = await viewer.next()
    kinds = [json.loads(item)["type"] for item in out if isinstance(item, str)]
    assert kinds == ["hello", "alert", "moved"]
    (last,) = [item for item in out if isinstance(item, bytes)]
    length = int.from_bytes(last[:4])
    assert json.loads(last[4 : 4 + length])["seq"] == 18
    assert last[4 + length :].startswith(b"\xff\xd8")
    assert viewer.skipped == 1


async def test_a_viewer_that_does_not_read_is_marked_and_costs_nothing_more() -> None:
    one = hub(backlog=8)
    slow, quick = one.join(), one.join()
    assert slow is not None
    assert quick is not None
    alert = example("alert.raised.v1/zone-entered")
    got = 0
    for _ in range(20):
        await Happenings(one)(batch(alert))
        got += len(await quick.next())
    assert got == 21
    assert slow.too_slow
    assert not quick.too_slow


async def test_pictures_nobody_watches_are_not_encoded() -> None:
    class Costly:
        def jpeg(self) -> bytes:
            raise AssertionError("encoded for nobody")

        def pixels(self) -> object:
            return None

    one = hub()
    frame = example("frame.captured.v1/frame")
    costly = Envelope(
        id=frame.id,
        source=frame.source,
        topic="frames",
        key="yard",
        event=frame.event,
        picture=Costly(),
    )
    await Pictures(one)(batch(costly))
    viewer = one.join()
    assert viewer is not None
    viewer.watched = frozenset({"gate"})
    await Pictures(one)(batch(costly))


async def test_there_is_a_limit_of_viewers() -> None:
    one = hub()
    first = one.join()
    assert first is not None
    assert one.join() is not None
    assert one.join() is None
    one.leave(first)
    assert one.join() is not None


async def test_a_removed_camera_leaves_the_wall() -> None:
    one = hub()
    viewer = one.join()
    assert viewer is not None
    document = example("camera.configured.v1/with-zones")
    gone = Envelope(id="x", source="vantage/vms", topic="cameras", key="yard", event=None)
    await Cameras(one)(batch(document, gone))
    told = await texts(viewer)
    assert [message["cameras"] for message in told][-1] == []


def test_a_picture_says_what_it_is() -> None:
    event = example("frame.captured.v1/frame").event
    sent = picture(event, b"\xff\xd8")  # type: ignore[arg-type]
    header = json.loads(sent[4 : 4 + int.from_bytes(sent[:4])])
    assert header == {
        "camera": "yard", "epoch": 4, "seq": 17, "at": 1795233603400000, "width": 768, "height": 576,
    }  # fmt: skip


async def test_next_waits_for_something_to_say() -> None:
    viewer = hub().join()
    assert viewer is not None
    await viewer.next()
    waiting = asyncio.create_task(viewer.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    viewer.tell("{}")
    assert await waiting == ["{}"]
