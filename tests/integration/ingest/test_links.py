"""What a network does to cameras (R22, R23): drips, cuts, a reboot, many at once. A fault proxy stands before the camera."""

import asyncio
import contextlib
import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from schemas.events.stream_marks import StreamInterrupted, StreamOpened
from services.ingest.domain import SHORTEST_S
from services.ingest.orders import PER_SECOND
from services.ingest.wire import Open
from tests.chaos.proxy import FaultProxy
from tests.chaos.turns import FAULTS, REPEAT
from tests.contract.bus import until
from tests.engines.fixtures import MakeCamera
from tests.engines.footage import Footage
from tests.engines.rtsp import RtspCamera
from tests.integration.ingest.conftest import Ingest

SECOND = 1_000_000
RECONNECTS = REPEAT or 2


def through(camera: RtspCamera, link: FaultProxy) -> str:
    """The camera's URL by way of the link."""
    return camera.url.replace(str(camera.port), str(link.port))


async def plays(ingest: Ingest, times: int) -> None:
    """Wait until the camera was opened so often and shows pictures again."""
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) >= times, timeout=60)
    seen = len(ingest.said.frames())
    await ingest.said.until(lambda: len(ingest.said.frames()) > seen + 2, timeout=60)


@pytest.mark.row("R22")
@pytest.mark.rtsp
async def test_a_slow_drip_is_an_interruption(ingest: Ingest, rtsp_camera: MakeCamera) -> None:
    camera = rtsp_camera()
    with FaultProxy("127.0.0.1", camera.port) as link:
        await ingest.configure(url=through(camera, link))
        await plays(ingest, 1)
        link.set(bytes_per_s=50)
        await ingest.said.until(lambda: ingest.said.of(StreamInterrupted), timeout=60)
        gap = ingest.said.of(StreamInterrupted)[0]
        assert gap.until - gap.since < 30 * SECOND  # without a busy machine: about 5
        link.heal()
        link.cut()
        await plays(ingest, 2)


@pytest.mark.row("R22", inside=True)
@pytest.mark.rtsp
async def test_cut_in_the_middle_of_a_picture_again_and_again(
    ingest: Ingest, rtsp_camera: MakeCamera, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTS, RECONNECTS)
    camera = rtsp_camera()
    with FaultProxy("127.0.0.1", camera.port) as link:
        await ingest.configure(url=through(camera, link))
        await plays(ingest, 1)
        before = usage(ingest)
        for cut in range(1, RECONNECTS + 1):
            link.cut()
            await plays(ingest, cut + 1)
        gaps = ingest.said.of(StreamInterrupted)
        assert [gap.epoch for gap in gaps] == list(range(1, RECONNECTS + 1))
        # A closed connection is given back when its thread has ended.
        await until(lambda: all(now <= then + 2 for now, then in pairs(usage(ingest), before)))
    await until(lambda: not zombies())


def zombies() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if child.status() == psutil.STATUS_ZOMBIE else []
    return found


def usage(ingest: Ingest) -> list[int]:
    """Descriptors and threads of each reader process, and our children."""
    (pid,) = ingest.studio.hosts.pids
    reader = psutil.Process(pid)
    children = psutil.Process().children(recursive=True)
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())), reader.num_threads(), len(children)]


def pairs(one: list[int], other: list[int]) -> list[tuple[int, int]]:
    return list(zip(one, other, strict=True))


@pytest.mark.row("R22")
@pytest.mark.rtsp
@pytest.mark.chaos
async def test_a_camera_that_is_started_again_with_another_size(
    ingest: Ingest, rtsp_camera: MakeCamera
) -> None:
    subject = rtsp_camera()
    await ingest.configure(url=subject.url)
    await plays(ingest, 1)
    subject.unplug()
    await ingest.said.until(lambda: ingest.state() == "retrying")
    subject.show(Footage(width=480, height=272))
    subject.plug()
    await plays(ingest, 2)
    opened = ingest.said.of(StreamOpened)
    assert (opened[-1].width, opened[-1].epoch) == (480, len(opened))
    assert all(one.opened_at < two.opened_at for one, two in itertools.pairwise(opened))


class Refusing:
    """A device that hangs up on everybody, and remembers who came when."""

    def __init__(self) -> None:
        self.tries: list[tuple[str, float]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            asked = (await reader.readuntil(b"\r\n")).decode()
            found = re.search(r"/(cam-\d+)", asked)
            now = asyncio.get_running_loop().time()
            self.tries.append((found[1] if found else "", now))
        writer.transport.abort()


@pytest.mark.row("R23")
async def test_many_that_fall_together_come_back_spread_out(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two tries of one camera lies a second, and between a try and the tenth after it too (R23)."""
    device, names = Refusing(), [f"cam-{number}" for number in range(32)]
    server = await asyncio.start_server(device, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    chance = random.Random(7)
    object.__setattr__(ingest.studio, "chance", chance.random)
    ordered: list[float] = []
    original = ingest.studio.orders.order

    async def order(document: object, start: int) -> Open:
        made = await original(document, start)  # type: ignore[arg-type]  # what it was given
        ordered.append(asyncio.get_running_loop().time())
        return made

    monkeypatch.setattr(ingest.studio.orders, "order", order)
    async with server:
        for name in names:
            await ingest.configure(name=name, url=f"rtsp://127.0.0.1:{port}/{name}")
        await until(lambda: len(set(counted(device, 2))) == len(names), seconds=90)
    for name in names:
        times = [at for who, at in device.tries if who == name]
        assert all(two - one >= SHORTEST_S for one, two in itertools.pairwise(times))
    steps = zip(ordered, ordered[PER_SECOND:], strict=False)
    assert all(later - earlier > 0.95 for earlier, later in steps)


def counted(device: Refusing, least: int) -> list[str]:
    names = [name for name, _ in device.tries]
    return [name for name in names if names.count(name) >= least]
