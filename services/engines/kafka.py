"""Apache Kafka in KRaft mode: a broker that is its own controller, alone or one of a cluster on this machine."""

from __future__ import annotations

import shutil
import signal
import subprocess
import uuid
from typing import TYPE_CHECKING

from services.engines.places import Place, free_port, programs
from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VERSION = "4.1.1"
HEAP = 512  # MB
# As few threads and partitions as brokers of one machine need; a group starts without waiting for more members.
SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.index.size.max.bytes": "1048576",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "unclean.leader.election.enable": "false",
}
COPIES = ("default", "offsets.topic", "transaction.state.log")


class Kafka:
    """See `Engine`."""

    name = "kafka"
    setting = "bus_url"
    ready = b"Kafka Server started"
    ends_by = signal.SIGTERM
    dies_by = signal.SIGKILL

    def missing(self) -> str:
        """See `Engine.missing`."""
        if shutil.which("java") is None:
            return "Kafka needs Java 17 or newer: apt-get install default-jre-headless, or `make engines`"
        if not any(jars().glob("kafka_2.13-*.jar")):
            return f"Kafka {VERSION} is not in {jars()}: `make engines` gets it"
        return ""

    def prepare(self, place: Place) -> None:
        """See `Engine.prepare`."""
        write_properties(place, properties(place, {1: free_port()}))
        if not (place.data / "meta.properties").exists():
            make_data(place)

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return broker(place)

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"kafka://127.0.0.1:{place.port}"


def properties(place: Place, voters: Mapping[int, int], *, node: int = 1) -> dict[str, str]:
    """The settings of a broker at `place`: every topic is on all brokers of its cluster.

    Args:
        place: where it keeps its data, and the port of its one listener.
        voters: the cluster's controllers, id -> port; this broker's own is among them.
        node: its id.
    """
    address, copies = f"127.0.0.1:{place.port}", str(len(voters))
    return SETTINGS | {
        "node.id": str(node),
        "listeners": f"PLAINTEXT://{address},CONTROLLER://127.0.0.1:{voters[node]}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in voters.items()),
        "log.dirs": str(place.data),
        "transaction.state.log.min.isr": str(max(1, len(voters) - 1)),
        **{f"{kind}.replication.factor": copies for kind in COPIES},
    }


def write_properties(place: Place, found: Mapping[str, str]) -> None:
    """Write a broker's settings to where `make_data` and `broker` read them."""
    _file(place).write_text("".join(f"{name}={value}\n" for name, value in found.items()))


def make_data(
    place: Place, *, cluster: str | None = None, more: Sequence[str] = (), heap: int = HEAP
) -> None:
    """Make the data of a broker whose settings are written.

    Args:
        place: of the broker.
        cluster: the id that all brokers of a cluster share; None: one of its own.
        more: arguments of Kafka's storage tool, e.g. `--add-scram`.
        heap: memory of the tool, MB.

    Raises:
        Setup: it cannot be made there.
    """
    arguments = ["format", "-t", cluster or str(uuid.uuid4()), *more, "-c", str(_file(place))]
    done = subprocess.run(  # noqa: S603 - our own arguments
        _java("kafka.tools.StorageTool", *arguments, heap=heap),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Setup(f"Kafka cannot make its data in {place.data}: {done.stderr[-500:].strip()}")


def broker(place: Place, *, heap: int = HEAP) -> list[str]:
    """How a broker whose data is made is started; `heap` is its memory for objects, MB."""
    return _java("kafka.Kafka", str(_file(place)), heap=heap)


def jars() -> Path:
    """The folder of Kafka's jars, one per version."""
    return programs() / f"kafka-{VERSION}"


def _java(program: str, *arguments: str, heap: int) -> list[str]:
    java = shutil.which("java") or "java"
    memory = [f"-Xms{heap // 2}m", f"-Xmx{heap}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return [java, *memory, "-cp", str(jars() / "*"), program, *arguments]


def _file(place: Place) -> Path:
    return place.folder / "server.properties"
