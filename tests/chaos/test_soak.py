"""A whole house at work for hours under faults (R29): memory, descriptors and threads of its processes stay flat.

Every minute the link of a camera is cut and one of two orchestrators is asked to end, so that cameras reconnect and
partitions move; one camera never gives a picture. `make soak` lasts two hours, VANTAGE_SOAK_SECONDS says otherwise.
The slope of memory is asserted where an hour of it was measured, and reported always.
"""

import itertools
import os
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from shared.sim.scene import Scene
from tests.chaos.proxy import FaultProxy
from tests.e2e import yard
from tests.e2e.house import House
from tests.e2e.receiver import Receiver
from tests.e2e.server import eventually
from tests.engines import processes
from tests.engines.fixtures import MakeCamera

SECONDS = float(os.environ.get("VANTAGE_SOAK_SECONDS", "7200"))
WARM = min(900.0, SECONDS / 3)  # until caches are full and pools open
EVERY = 60.0  # seconds between two faults
LOOK = 5.0  # seconds between two looks
HOUR = 3600.0
SLOPE = 5.0  # MB an hour of one process
GROWTH = 40.0  # MB of one process, where less than an hour was measured
SPARE = 12  # descriptors that come and go with connections
STEADY = ("gateway-main", "vms-main", "ingest-main", "inference-main", "notifier-main")
SCENE = Scene(seed=yard.SEED, duration_s=60)
pytestmark = [pytest.mark.soak, pytest.mark.row("R29"), pytest.mark.rtsp, pytest.mark.kafka]


class Look(NamedTuple):
    """What a process holds, at a time."""

    at: float
    megabytes: float
    descriptors: int
    threads: int


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    nets = {"VANTAGE_CAMERA_NETS": "127.0.0.0/8"}
    with House(tmp_path / "data", nets, replicas="orchestrator=2") as one:
        yield one


def test_r29_memory_and_descriptors_stay_flat(
    house: House, rtsp_camera: MakeCamera, record_property: Callable[[str, object], None]
) -> None:
    camera = rtsp_camera()
    with Receiver() as receiver, FaultProxy("127.0.0.1", camera.port) as link:
        _put_up(house, receiver.url, camera.url.replace(str(camera.port), str(link.port)))
        pids = {name: house.member(name) for name in STEADY}
        looks = _watch(house, pids, link, receiver)
    assert pids == {name: house.member(name) for name in STEADY}, "a process was started again"
    for name, seen in looks.items():
        measured = [look for look in seen if look.at >= WARM]
        slope = _slope(measured)
        record_property(f"{name} MB/h", round(slope, 1))
        hours = (measured[-1].at - measured[0].at) / HOUR
        if hours >= 1:
            assert slope < SLOPE, (name, slope)
        assert slope * hours < GROWTH, (name, slope)
        assert _flat([look.descriptors for look in measured], SPARE), (name, measured[-1])
        assert _flat([look.threads for look in measured], SPARE), (name, measured[-1])


def _put_up(house: House, webhook: str, film: str) -> None:
    """The yard in a loop with its rules, a camera behind a link that is cut, one that is not there."""
    yard.put_up(house, SCENE, webhook, options="&loop=1")
    for name, url in (
        ("Street", film),
        ("Nowhere", f"rtsp://127.0.0.1:{processes.free_port()}/none"),
    ):
        house.call("POST", "/api/v1/cameras", {"name": name, "url": url})
    eventually(lambda: _states(house).get("street") == "online", seconds=90)


def _states(house: House) -> dict[str, str]:
    items = house.call("GET", "/api/v1/camera-status")["items"]
    return {item["camera"]: item["state"] for item in items}


def _watch(
    house: House, pids: dict[str, int], link: FaultProxy, receiver: Receiver
) -> dict[str, list[Look]]:
    """Break something every minute, look at the processes in between; alerts must keep coming."""
    looks: dict[str, list[Look]] = defaultdict(list)
    began = fault_at = time.monotonic()
    turns = itertools.cycle(("orchestrator-main", "orchestrator-main-2"))
    alerts = 0
    while time.monotonic() - began < SECONDS:
        for name, pid in pids.items():
            looks[name].append(_look(psutil.Process(pid), time.monotonic() - began))
        if time.monotonic() - fault_at >= EVERY:
            fault_at = time.monotonic()
            link.cut()
            name = next(turns)
            if old := house.member(name):
                os.kill(old, signal.SIGTERM)
                house.until_back(name, old)
            known = alerts
            eventually(lambda: len(receiver.ids) > known, seconds=120)  # noqa: B023 -- awaited here
            alerts = len(receiver.ids)
        time.sleep(LOOK)
    eventually(lambda: _states(house).get("street") == "online", seconds=90)
    return looks


def _look(process: psutil.Process, at: float) -> Look:
    with process.oneshot():
        memory = process.memory_info().rss / 1e6
        return Look(at, memory, process.num_fds(), process.num_threads())


def _slope(looks: list[Look]) -> float:
    """Megabytes an hour, by least squares."""
    times = [look.at / HOUR for look in looks]
    return statistics.linear_regression(times, [look.megabytes for look in looks]).slope


def _flat(counts: list[int], spare: int) -> bool:
    """The last third is not above the first one."""
    third = max(1, len(counts) // 3)
    return max(counts[-third:]) <= max(counts[:third]) + spare
