"""One alert's way over processes of their own and a real Kafka broker: one trace, and one correlation in the logs."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.sim.scene import Scene
from tests.e2e import server as e2e
from tests.e2e import yard
from tests.e2e.receiver import Receiver
from tests.engines import processes
from tests.engines.collector import Collector, Seen
from tests.engines.kafka import KafkaBroker
from tests.integration.test_runtime_process import Server, listening, once, start

pytestmark = pytest.mark.kafka
SCENE = Scene(seed=yard.SEED, duration_s=600)  # it still plays when the last figure is read
ALONE = ("ingest", "inference", "orchestrator", "notifier")
STAGES = {
    "detections": "inference",
    "tracks": "orchestrator",
    "incident": "orchestrator",
    "alert": "orchestrator",
    "delivered": "notifier",
}
WAY = [
    ("notifier", "deliver"),
    ("notifier", "handle alert.raised.v1"),
    ("orchestrator", "evaluate"),
    ("inference", "detect"),
    ("ingest", "capture"),
]


class House(e2e.Server):
    """The data folder as a server that commands reach, and the processes on it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.servers: dict[str, Server] = {}

    def figure(self, process: str, name: str, **labels: str) -> float | None:
        """A value that a process shows on its metrics port."""
        server = self.servers[process]
        own = int(server.url.rpartition(":")[2])
        (port,) = {one.port for one in listening(server.process.pid)} - {own}
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        found = [one.value for one in samples if (one.name, one.labels) == (name, labels)]
        return found[0] if found else None


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture
def house(tmp_path: Path, kafka_broker: KafkaBroker, collector: Collector) -> Iterator[House]:
    """Five processes on one data folder: four services alone, and the others behind the gateway's door."""
    ports = {name: processes.free_port() for name in ALONE}
    shared = {
        "VANTAGE_BUS_URL": kafka_broker.url,
        "VANTAGE_DATA_DIR": str(tmp_path / "data"),
        "VANTAGE_WEBHOOK_NETS": "127.0.0.0/8",
        "VANTAGE_OTLP_ENDPOINT": collector.url,
        "VANTAGE_GATEWAY_UPSTREAMS": ",".join(f"http://127.0.0.1:{p}" for p in ports.values()),
    }
    orders: dict[str, tuple[str, ...]] = {"door": ("run", "gateway", "vms", "--port", "0")}
    orders |= {name: ("run", name, "--port", str(port)) for name, port in ports.items()}
    found = House(tmp_path / "data")
    with ExitStack() as stack:

        def begin(name: str) -> None:
            server: Server = start(tmp_path / name, *orders[name], **shared)
            stack.callback(processes.end, server.process)
            found.servers[name] = server

        for name in (*ALONE, "door"):  # the door asks the others what they serve
            begin(name)
        yield found


@pytest.mark.timeout(480)
def test_one_trace_and_one_correlation_from_frame_to_delivery(
    house: House, collector: Collector, receiver: Receiver
) -> None:
    for path in ("/api/v1/rules", "/api/v1/channels", "/api/v1/cameras"):
        e2e.eventually(lambda path=path: house.ask("GET", path).is_success, seconds=120)
    louder = once(house.folder, "logs", "level", "debug")
    assert (louder.returncode, louder.stderr) == (0, "")
    assert louder.stdout.count("INFO -> DEBUG") == 1 + len(ALONE)
    yard.put_up(house, SCENE, receiver.url)
    e2e.eventually(lambda: receiver.bodies, seconds=120)

    identity, way = trace_of_a_delivery(collector, receiver)
    log_lines_agree(house, way, identity)
    figures_are_shown(house)


def trace_of_a_delivery(collector: Collector, receiver: Receiver) -> tuple[str, list[Seen]]:
    """A delivery's id, and its spans back to the frame: all are there, each under the one before."""
    alert = receiver.bodies[0]["data"]["alert"]
    (identity,) = receiver.ids[alert]
    told = e2e.eventually(lambda: [one for one in list(collector.spans) if is_of(one, identity)])
    way = e2e.eventually(lambda: whole(collector, told[0]))
    assert [(one.service, one.name) for one in way] == WAY
    assert len({one.trace for one in way}) == 1
    assert all(one.ended >= one.started for one in way)
    beside = {("orchestrator", "publish alert.raised.v1"), ("vms", "handle alert.raised.v1")}
    e2e.eventually(
        lambda: beside <= {(one.service, one.name) for one in collector.of(way[0].trace)}
    )
    return identity, way


def log_lines_agree(house: House, way: list[Seen], identity: str) -> None:
    """What all processes have logged on the way carries the id of its frame."""
    frame = way[-1].attributes["vantage.event"].removeprefix('string_value: "').rstrip('"')
    said = e2e.eventually(lambda: complete(logged(house.folder, frame)))
    assert {line["correlation"] for line in said} == {frame}
    assert {line["process"] for line in said} >= set(ALONE)
    tried = [line for line in said if line["event"] == "delivery_tried"]
    assert identity in {line["delivery"] for line in tried}
    assert {line["trace_id"] for line in tried} == {way[0].trace}


def figures_are_shown(house: House) -> None:
    """Each process shows on its metrics port what it has to do with it."""
    for stage, process in STAGES.items():
        e2e.eventually(
            lambda stage=stage, process=process: house.figure(
                process, "vantage_stage_latency_seconds_count", stage=stage
            )
        )
    e2e.eventually(lambda: house.figure("ingest", "vantage_camera_up", camera=yard.YARD) == 1)
    assert house.figure("inference", "vantage_detections_per_frame_count", camera=yard.YARD)
    delay = house.figure("orchestrator", "vantage_watermark_delay_seconds", camera=yard.YARD)
    assert delay is not None
    lag = {"group": "orchestrator", "topic": "detections"}
    assert house.figure("orchestrator", "vantage_bus_queue_depth", **lag) is not None
    pool = {"service": "vms", "pool": "reader"}
    assert house.figure("door", "vantage_db_pool_limit_connections", **pool)
    assert house.figure("door", "vantage_active_sessions") == 0
    assert house.figure("notifier", "vantage_deliveries_waiting", state="due") is not None


def is_of(span: Seen, delivery: str) -> bool:
    return span.name == "deliver" and delivery in span.attributes["vantage.delivery"]


def whole(collector: Collector, last: Seen) -> list[Seen] | None:
    """The spans from this one up to its trace's first, once all have come."""
    known = {one.span: one for one in collector.of(last.trace)}
    way = [last]
    while way[-1].parent:
        if way[-1].parent not in known:
            return None
        way.append(known[way[-1].parent])
    return way


def logged(folder: Path, correlation: str) -> list[dict[str, str]]:
    found = once(folder, "logs", "--correlation", correlation)
    assert (found.returncode, found.stderr) == (0, "")
    return [json.loads(line) for line in found.stdout.splitlines()]


def complete(lines: list[dict[str, str]]) -> list[dict[str, str]] | None:
    events = {line["event"] for line in lines}
    wanted = {"frame_said", "frame_answered", "incident_opened", "alert_raised", "alert_taken"}
    return lines if events >= {*wanted, "delivery_tried"} else None
