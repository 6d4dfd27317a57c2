"""The engines do what tests rely on: a broker keeps its log over kill -9, a camera has its accidents."""

import threading
import time
from collections.abc import Iterator
from typing import Literal

import av
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from av.container import InputContainer
from playwright.async_api import Browser

from tests.engines.fixtures import MakeCamera
from tests.engines.footage import Footage
from tests.engines.kafka import KafkaBroker
from tests.engines.redis import RedisServer
from tests.engines.rtsp import Login

QUICK = {
    "rtsp_transport": "tcp",
    "fflags": "nobuffer",
    "probesize": "32768",
    "analyzeduration": "0",
    "timeout": "1500000",
}


async def send(broker: KafkaBroker, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait("kept", value)


async def read(broker: KafkaBroker, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        "kept", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest"
    )
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


@pytest.mark.kafka
async def test_a_killed_broker_keeps_what_it_acknowledged(own_kafka_broker: KafkaBroker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka_broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    await send(own_kafka_broker, b"one", b"two")
    own_kafka_broker.restart()
    assert await read(own_kafka_broker, 2) == [b"one", b"two"]


@pytest.mark.redis
def test_an_engine_that_is_down_can_be_ended_again_and_cannot_be_frozen(
    own_redis_server: RedisServer,
) -> None:
    own_redis_server.stop()
    own_redis_server.stop()
    own_redis_server.kill()
    with pytest.raises(RuntimeError, match="redis is not running"):
        own_redis_server.freeze()
    own_redis_server.start()
    own_redis_server.order("SET kept 7")
    own_redis_server.restart()
    own_redis_server.order("SET kept 8")


def watch(url: str, **options: str) -> InputContainer:
    return av.open(url, options=QUICK | options, timeout=5)


def sizes(url: str, count: int) -> list[tuple[int, int]]:
    with watch(url) as film:
        frames = film.decode(video=0)
        return [(frame.width, frame.height) for frame, _ in zip(frames, range(count), strict=False)]


@pytest.mark.rtsp
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_camera_plays_without_a_seam(rtsp_camera: MakeCamera, codec: str) -> None:
    camera = rtsp_camera(width=160, height=120, fps=20, seconds=1, codec=codec)
    assert sizes(camera.url, 30) == [(160, 120)] * 30


@pytest.mark.rtsp
@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_login_is_demanded(rtsp_camera: MakeCamera, method: Literal["basic", "digest"]) -> None:
    camera = rtsp_camera(login=Login("guard", "p@ss:word", method))
    with pytest.raises(av.error.HTTPUnauthorizedError):
        watch(camera.url)
    assert sizes(camera.url_with_login, 1) == [(320, 240)]


@pytest.mark.rtsp
def test_an_unplugged_camera_refuses_and_comes_back_at_the_same_address(
    rtsp_camera: MakeCamera,
) -> None:
    camera = rtsp_camera()
    with watch(camera.url) as film:
        frames = film.decode(video=0)
        next(frames)
        camera.unplug()
        with pytest.raises((av.error.FFmpegError, StopIteration)):
            [next(frames) for _ in range(100)]
    with pytest.raises(av.error.ConnectionRefusedError):
        watch(camera.url)
    camera.plug()
    assert sizes(camera.url, 1) == [(320, 240)]


@pytest.mark.rtsp
def test_a_frozen_camera_is_silent_and_goes_on(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera(fps=20)
    with watch(camera.url, timeout="8000000") as film:
        frames = film.decode(video=0)
        next(frames)
        camera.freeze()
        threading.Timer(1.0, camera.thaw).start()
        waits = [wait_for_next(frames) for _ in range(40)]
        assert max(waits) > 0.7
        assert camera.viewers() == 1


def wait_for_next(frames: Iterator[av.VideoFrame]) -> float:
    asked = time.monotonic()
    next(frames)
    return time.monotonic() - asked


@pytest.mark.rtsp
def test_a_camera_can_change_its_size_in_a_running_session(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera(width=160, height=120, fps=20, seconds=1)
    with watch(camera.url) as film:
        frames = film.decode(video=0)
        assert next(frames).width == 160
        camera.show(Footage(width=320, height=240, fps=20, seconds=1))
        assert 320 in [next(frames).width for _ in range(60)]


@pytest.mark.rtsp
def test_a_garbled_camera_sends_no_picture_until_it_is_healed(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera(fps=20, seconds=1)
    with watch(camera.url) as film:
        packets = film.demux(video=0)
        next(packets)
        camera.garble()
        broken = [packet for packet, _ in zip(packets, range(40), strict=False)]
        assert sum(not is_sound(packet) for packet in broken) > 20
        camera.heal()
        assert any(is_sound(packet) for packet, _ in zip(packets, range(60), strict=False))


def is_sound(packet: "av.Packet[av.VideoStream]") -> bool:
    try:
        return bool(packet.decode())
    except av.error.FFmpegError:
        return False


@pytest.mark.browser
async def test_chromium_draws_a_page(browser: Browser) -> None:
    page = await browser.new_page()
    await page.set_content("<h1>here</h1>")
    assert await page.inner_text("h1") == "here"
