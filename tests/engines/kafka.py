"""Real Apache Kafka in KRaft mode: one process a broker, loopback, random ports, data in a folder of its own."""

import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engines import folders, processes
from tests.engines.require import missing_engine

COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.index.size.max.bytes": "1048576",
    "num.io.threads": "4",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "1",
    "unclean.leader.election.enable": "false",
}
COPIES = ("default", "offsets.topic", "transaction.state.log")


class KafkaBroker:
    """One broker. `bootstrap` is its host:port and stays the same over kill, stop and start.

    `voters`: id -> controller port of each broker of the cluster, this one among them.
    `more`: properties beside ours; `format`: arguments of the storage tool; `heap`: MB.
    """

    def __init__(
        self,
        folder: Path,
        *,
        node: int = 1,
        voters: Mapping[int, int] | None = None,
        cluster: str | None = None,
        more: Mapping[str, str] | None = None,
        format: Sequence[str] = (),
        heap: int = 512,
    ) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self.node = node
        self.port = processes.free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.url = f"kafka://{self.bootstrap}"
        self._heap = heap
        self._process: subprocess.Popen[bytes] | None = None
        voters = voters or {node: processes.free_port()}
        self._format(
            self._properties(voters) | dict(more or {}), cluster or str(uuid.uuid4()), format
        )

    def start(self, *, wait: bool = True) -> None:
        """Start on the data that is there and return when clients can work (about 3 s).

        `wait` False: at once; a broker of three becomes ready only with another one.
        """
        self._heard = self._starts()
        self._process = processes.spawn(self._java("kafka.Kafka"), log=self.log)
        if wait:
            self.ready()

    def ready(self) -> None:
        """Return when clients can work."""
        if self._process is None:
            raise RuntimeError("the broker is not running")
        processes.wait_until(
            lambda: self._starts() > self._heard and self._accepts(),
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
        """Stop the broker in its tracks (SIGSTOP): connections stay open and nothing answers.

        Returns when all its threads stand still: on a busy machine some go on for a moment.
        """
        process = self._signal(signal.SIGSTOP)
        processes.wait_until(
            lambda: processes.stopped(process.pid), seconds=30, process=process, log=self.log
        )

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the broker is not running")
        self._process.send_signal(number)
        return self._process

    def _properties(self, voters: Mapping[int, int]) -> dict[str, str]:
        copies = str(len(voters))
        return COMMON | {
            "node.id": str(self.node),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{voters[self.node]}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in voters.items()),
            "log.dirs": str(self.folder / "data"),
            "transaction.state.log.min.isr": str(max(1, len(voters) - 1)),
            **{f"{kind}.replication.factor": copies for kind in COPIES},
        }

    def _format(self, properties: Mapping[str, str], cluster: str, more: Sequence[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.folder / "server.properties").write_text(lines)
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, *more, "-c")
        with self.log.open("ab") as out:
            subprocess.run(command, check=True, stdout=out, stderr=out)

    def _java(self, program: str, *arguments: str) -> list[str]:
        java = shutil.which("java") or "java"
        memory = [f"-Xms{self._heap // 2}m", f"-Xmx{self._heap}m"]
        options = [*memory, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        libs = ["-cp", str(folders.kafka() / "*")]
        return [java, *options, *libs, program, *arguments, str(self.folder / "server.properties")]

    def _starts(self) -> int:
        return self.log.read_text(errors="replace").count("Kafka Server started")

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class KafkaCluster:
    """Three brokers that are also the controllers: replication 3, two in sync are enough; 256 MB of heap each."""

    def __init__(self, folder: Path) -> None:
        voters = {node: processes.free_port() for node in (1, 2, 3)}
        cluster = str(uuid.uuid4())
        more = {  # a broker that is away or frozen is missed after 3 s (Kafka's default: 9 s)
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "replica.lag.time.max.ms": "5000",
            "min.insync.replicas": "2",
        }
        self.brokers = {
            node: KafkaBroker(
                folder / str(node), node=node, voters=voters, cluster=cluster, more=more, heap=256
            )
            for node in voters
        }
        self.bootstrap = ",".join(broker.bootstrap for broker in self.brokers.values())
        self.url = f"kafka://{self.bootstrap}"

    def start(self) -> None:
        """Start all and return when clients can work (about 6 s)."""
        for broker in self.brokers.values():
            broker.start(wait=False)
        for broker in self.brokers.values():
            broker.ready()

    def kill(self) -> None:
        """Kill -9 all."""
        for broker in self.brokers.values():
            broker.kill()


def require_kafka() -> None:
    """Skip (or fail) with what is missing on this machine."""
    if shutil.which("java") is None:
        missing_engine("Kafka needs a Java runtime (17 or newer)")
    if not folders.kafka().is_dir():
        missing_engine(f"Kafka {folders.KAFKA_VERSION} is not in {folders.engines()}")


def make_broker(folder: Path, *, more: Mapping[str, str] | None = None) -> KafkaBroker:
    """A started broker, or the skip (or failure) that says what is missing."""
    require_kafka()
    broker = KafkaBroker(folder, more=more)
    broker.start()
    return broker


def make_cluster(folder: Path) -> KafkaCluster:
    """Three started brokers, or the skip (or failure) that says what is missing."""
    require_kafka()
    cluster = KafkaCluster(folder)
    cluster.start()
    return cluster
