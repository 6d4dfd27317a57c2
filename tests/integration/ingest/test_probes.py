"""Probes: a URL is tried out in a child process and answered within its time."""

import base64
import time
from pathlib import Path

import pytest

from services.ingest.orders import Orders
from services.ingest.probe import Answer
from services.ingest.probes import Probes
from services.ingest.settings import IngestSettings
from shared import images
from shared.errors import Invalid
from shared.security.camera_login import CameraLogin
from shared.security.egress import Egress
from tests.engines.fixtures import Data, MakeCamera
from tests.engines.rtsp import Login
from tests.integration.ingest.conftest import BOX, LOOPBACK

SETTINGS = IngestSettings(probe_timeout=5)


async def probe(url: str, login: CameraLogin | None = None) -> Answer:
    return await Probes(Orders(Egress(camera_nets=LOOPBACK), BOX, SETTINGS), SETTINGS).probe(
        url, login
    )


async def test_the_yard() -> None:
    answer = await probe("sim://demo?size=640x360&fps=8")
    assert (answer.ok, answer.codec, answer.width, answer.height, answer.fps) == (
        True,
        "sim",
        640,
        360,
        8,
    )
    assert images.size(base64.b64decode(answer.thumbnail)) == (320, 180)


async def test_a_film(test_data: Data) -> None:
    answer = await probe(f"file://{test_data.media('tud-stadtmitte.mp4')}")
    assert (answer.ok, answer.codec, answer.width, answer.height) == (True, "mpeg4", 640, 480)
    assert answer.fps == pytest.approx(25)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"", "0 bytes"), (b"letter" * 99, "known format")],
)
async def test_no_film(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    answer = await probe(f"file://{path}")
    assert not answer.ok
    assert says in answer.reason


async def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in (await probe(f"file://{tmp_path}")).reason


async def test_a_sound_without_video(tmp_path: Path) -> None:
    import av
    import numpy as np

    path = tmp_path / "sound.mp4"
    with av.open(path, "w") as film:
        stream = film.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            film.mux(packet)
    assert "no video" in (await probe(f"file://{path}")).reason


async def test_addresses_that_are_not_allowed_are_refused_before_anything_is_sent() -> None:
    probes = Probes(Orders(Egress(), BOX, SETTINGS), SETTINGS)
    for url in ("rtsp://127.0.0.1/x", "rtsp://0x7f000001/x", "ftp://10.0.0.1/x", "concat:/a"):
        with pytest.raises(Invalid) as caught:
            await probes.probe(url, None)
        assert caught.value.field == "url"


@pytest.mark.rtsp
async def test_a_camera_with_its_login(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera(login=Login("guard", "right"))
    good = await probe(camera.url, CameraLogin(username="guard", password="right"))
    assert (good.ok, good.codec, good.width) == (True, "h264", 320)
    bad = await probe(camera.url, CameraLogin(username="guard", password="wrong"))
    assert (bad.ok, bad.kind) == (False, "auth")
    assert "wrong" not in bad.reason
    assert not (await probe(camera.url)).ok


@pytest.mark.rtsp
async def test_a_camera_that_says_nothing_is_given_up(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    camera.freeze()
    began = time.monotonic()
    answer = await probe(camera.url)
    assert (answer.ok, answer.kind) == (False, "timeout")
    assert time.monotonic() - began < 11


@pytest.mark.rtsp
async def test_a_camera_that_is_off(rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    camera.unplug()
    answer = await probe(camera.url)
    assert (answer.ok, answer.kind) == (False, "unreachable")
