"""A real Apache Kafka broker in KRaft mode: one process, loopback, random ports, data in a folder of its own."""

import shutil
import signal
import socket
import subprocess
import uuid
from pathlib import Path

from tests.engines import folders, processes
from tests.engines.require import missing_engine

PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
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


class KafkaBroker:
    """One broker. `bootstrap` is its host:port and stays the same over kill, stop and start.

    `advertised`: the port that clients are sent to, where that is a proxy's.
    """

    def __init__(self, folder: Path, *, advertised: int | None = None) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self.port = processes.free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.url = f"kafka://{self.bootstrap}"
        self._advertised = advertised or self.port
        self._process: subprocess.Popen[bytes] | None = None
        self._format()

    def start(self) -> None:
        """Start on the data that is there and return when clients can work (about 3 s)."""
        heard = self._starts()
        self._process = processes.spawn(self._java("kafka.Kafka"), log=self.log)
        processes.wait_until(
            lambda: self._starts() > heard and self._accepts(),
            seconds=60,
            process=self._process,
            log=self.log,
        )

    def stop(self) -> None:
        """Shut down in order, as an operator would; nothing happens when it is down already."""
        if self._process is not None:
            processes.end(self._process, grace=30)
            self._process = None

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def restart(self) -> None:
        """Kill -9 and start again on the same data and port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the broker in its tracks (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the broker is not running")
        self._process.send_signal(number)

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = PROPERTIES.format(
            port=self.port,
            advertised=self._advertised,
            controller=processes.free_port(),
            data=self.folder / "data",
        )
        (self.folder / "server.properties").write_text(text)
        command = self._java("kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()), "-c")
        with self.log.open("ab") as out:
            subprocess.run(command, check=True, stdout=out, stderr=out)

    def _java(self, program: str, *arguments: str) -> list[str]:
        java = shutil.which("java") or "java"
        options = ["-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        libs = ["-cp", str(folders.kafka() / "*")]
        return [java, *options, *libs, program, *arguments, str(self.folder / "server.properties")]

    def _starts(self) -> int:
        return self.log.read_text(errors="replace").count("Kafka Server started")

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_broker(folder: Path, *, advertised: int | None = None) -> KafkaBroker:
    """A started broker, or the skip (or failure) that says what is missing."""
    if shutil.which("java") is None:
        missing_engine("Kafka needs a Java runtime (17 or newer)")
    if not folders.kafka().is_dir():
        missing_engine(f"Kafka {folders.KAFKA_VERSION} is not in {folders.engines()}")
    broker = KafkaBroker(folder, advertised=advertised)
    broker.start()
    return broker
