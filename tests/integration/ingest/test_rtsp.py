"""Cameras over RTSP against a real RTSP server, with the accidents of real cameras."""

import os
import signal
from pathlib import Path

import pytest

from schemas.events.stream_marks import StreamAlive, StreamInterrupted, StreamOpened
from shared.images import pixels
from tests.engines.fixtures import MakeCamera
from tests.engines.footage import Footage
from tests.engines.rtsp import Login
from tests.integration.ingest.conftest import Ingest, running

pytestmark = pytest.mark.rtsp
SECOND = 1_000_000


async def test_a_camera_plays(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    await ingest.configure(url=rtsp_camera().url, rate=5.0)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 15)
    (opened,) = ingest.said.of(StreamOpened)
    assert (opened.width, opened.height) == (320, 240)
    frames = ingest.said.frames()
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    took = frames[14].captured_at - frames[0].captured_at
    assert 14 * SECOND / 5 * 0.7 < took < 14 * SECOND / 5 * 1.4
    assert all(frame.read_at - frame.captured_at < 2 * SECOND for frame in frames)
    assert len(ingest.said.of(StreamAlive)) >= 2
    picture = next(e.picture for e in ingest.said.envelopes if e.picture is not None)
    assert pixels(picture)[60:120].max() > 200
    assert any(frame.motion for frame in frames[3:])


async def test_motion_jpeg_plays_too(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    await ingest.configure(url=rtsp_camera(codec="mjpeg").url)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 5)


@pytest.mark.row("R22")
async def test_unplugged_and_back(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    await ingest.configure(url=camera.url)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 5)
    last = ingest.said.frames()[-1].captured_at
    camera.unplug()
    await ingest.said.until(lambda: ingest.said.of(StreamInterrupted))
    (interrupted,) = ingest.said.of(StreamInterrupted)
    assert interrupted.since >= last
    assert interrupted.until - interrupted.since < 15 * SECOND
    await ingest.said.until(lambda: ingest.state() == "retrying")
    camera.plug()
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) == 2)
    seen = len(ingest.said.frames())
    await ingest.said.until(lambda: len(ingest.said.frames()) > seen + 3)
    assert ingest.state() == "online"
    states = await ingest.states()
    assert states[:3] == ["connecting", "online", "retrying"]
    assert states[-1] == "online"


@pytest.mark.row("R22")
async def test_a_hang_without_data_is_an_interruption(
    ingest: Ingest, rtsp_camera: MakeCamera
) -> None:
    camera = rtsp_camera()
    await ingest.configure(url=camera.url)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 5)
    camera.freeze()
    beats = len(ingest.said.of(StreamAlive))
    await ingest.said.until(lambda: ingest.said.of(StreamInterrupted))
    (interrupted,) = ingest.said.of(StreamInterrupted)
    assert interrupted.until - interrupted.since < 8 * SECOND
    assert len(ingest.said.of(StreamAlive)) <= beats + 2
    camera.thaw()
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) == 2)


async def test_a_stopped_reader_process_is_replaced(
    ingest: Ingest, rtsp_camera: MakeCamera
) -> None:
    await ingest.configure(url=rtsp_camera().url)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 3)
    stopped = ingest.studio.hosts.pids[0]
    os.kill(stopped, signal.SIGSTOP)
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) == 2, timeout=60)
    assert stopped not in ingest.studio.hosts.pids


def known_of(pid: int) -> bytes:
    """What everybody on the machine, and its own children, may see of a process."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


async def test_a_login_is_used_and_never_shown(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera(login=Login("guard", "se/cr@t:1"))
    await ingest.configure(url=camera.url, login=("guard", "se/cr@t:1"))
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 3)
    for pid in ingest.studio.hosts.pids:
        told = known_of(pid)
        assert b"cr@t" not in told
        assert b"cr%40t" not in told


async def test_a_refused_login_stops_after_five_tries(
    ingest: Ingest, rtsp_camera: MakeCamera
) -> None:
    camera = rtsp_camera(login=Login("guard", "right"))
    await ingest.configure(url=camera.url, login=("guard", "wrong"))
    await ingest.said.until(lambda: ingest.state() == "auth_failed", timeout=60)
    assert "login" in ingest.reason()
    assert "wrong" not in ingest.reason()
    tries = ingest.studio.metrics.camera_connects.labels("yard", "auth")
    assert tries._value.get() == 5


@pytest.mark.row("R22")
async def test_another_size_is_another_epoch(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    await ingest.configure(url=camera.url)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 3)
    camera.show(Footage(width=480, height=272))
    await ingest.said.until(lambda: any(mark.width == 480 for mark in ingest.said.of(StreamOpened)))
    opened = ingest.said.of(StreamOpened)
    assert [mark.epoch for mark in opened] == list(range(1, len(opened) + 1))
    for frame in ingest.said.frames():
        size = next(m for m in opened if m.epoch == frame.epoch)
        assert (frame.width, frame.height) == (size.width, size.height)


async def test_garbage_is_an_error_and_heals(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera, other = rtsp_camera(), rtsp_camera()
    await ingest.configure(url=camera.url)
    await ingest.configure(name="other", url=other.url)
    await ingest.said.until(lambda: ingest.said.frames() and ingest.said.frames("other"))
    camera.garble()
    await ingest.said.until(lambda: ingest.said.of(StreamInterrupted))
    await ingest.said.until(lambda: ingest.state() in ("error", "retrying"))
    seen = len(ingest.said.frames("other"))
    await ingest.said.until(lambda: len(ingest.said.frames("other")) > seen + 5)
    assert len(ingest.said.of(StreamOpened, "other")) == 1
    camera.heal()
    count = len(ingest.said.of(StreamOpened))
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) > count, timeout=60)


async def test_a_camera_that_is_not_there(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    camera.unplug()
    await ingest.configure(url=camera.url)
    await ingest.said.until(lambda: ingest.state() == "offline", timeout=60)
    assert "reached" in ingest.reason()
    camera.plug()
    await ingest.said.until(lambda: ingest.state() == "online", timeout=60)


async def test_an_address_that_is_not_allowed_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, nets=()) as ingest:
        await ingest.configure(url="rtsp://127.0.0.1:554/stream")
        await ingest.said.until(lambda: ingest.state() == "error")
        assert "VANTAGE_CAMERA_NETS" in ingest.reason()
