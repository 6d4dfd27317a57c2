"""Apache Kafka in KRaft mode: one broker that is its own controller."""

from __future__ import annotations

import shutil
import signal
import subprocess
import uuid
from typing import TYPE_CHECKING

from services.engines.places import Place, free_port, programs
from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = "4.1.1"
# Replication and transactions as one broker can have them; a group starts without waiting for more members.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""
MEMORY = ("-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


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
        text = PROPERTIES.format(port=place.port, controller=free_port(), data=place.data)
        _properties(place).write_text(text)
        if (place.data / "meta.properties").exists():
            return
        command = _java("kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()), "-c")
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*command, str(_properties(place))], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Setup(f"Kafka cannot make its data in {place.data}: {done.stderr[-500:].strip()}")

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return [*_java("kafka.Kafka"), str(_properties(place))]

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"kafka://127.0.0.1:{place.port}"


def jars() -> Path:
    """The folder of Kafka's jars, one per version."""
    return programs() / f"kafka-{VERSION}"


def _java(program: str, *arguments: str) -> list[str]:
    java = shutil.which("java") or "java"
    return [java, *MEMORY, "-cp", str(jars() / "*"), program, *arguments]


def _properties(place: Place) -> Path:
    return place.folder / "server.properties"
