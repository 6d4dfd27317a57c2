"""Real Apache Kafka in KRaft mode: one process a broker, loopback, random ports, data in a folder of its own."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.engines import kafka
from services.engines.kafka import Kafka
from services.engines.places import Place
from tests.engines.processes import free_port
from tests.engines.require import require_engine
from tests.engines.server import EngineServer


class KafkaBroker(EngineServer):
    """One broker (about 3 s to start). `bootstrap` is its host:port and stays the same over kill, stop and start.

    `port`: of its own listener; `voters`: id -> controller port of each broker of the cluster, this one among them.
    `more`: properties beside ours; `format`: arguments of the storage tool; `heap`: MB.
    A broker of three becomes ready only with another one: start it with `wait` False.
    """

    name = Kafka.name
    ready = Kafka.ready
    ends_by = Kafka.ends_by

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        node: int = 1,
        voters: Mapping[int, int] | None = None,
        cluster: str | None = None,
        more: Mapping[str, str] | None = None,
        format: Sequence[str] = (),
        heap: int = kafka.HEAP,
    ) -> None:
        super().__init__(folder, port=port)
        self.node = node
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._heap = heap
        self._place = Place(folder, self.port)
        self.url = Kafka().url(self._place)
        ours = kafka.properties(self._place, voters or {node: free_port()}, node=node)
        kafka.write_properties(self._place, ours | dict(more or {}))
        kafka.make_data(self._place, cluster=cluster, more=format, heap=heap)

    def _command(self) -> list[str]:
        return kafka.broker(self._place, heap=self._heap)


class KafkaCluster:
    """Three brokers that are also the controllers: replication 3, two in sync are enough; 256 MB of heap each."""

    def __init__(self, folder: Path) -> None:
        voters = {node: free_port() for node in (1, 2, 3)}
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
        """Start all and return when clients can work (about 6 s); where one does not come to that, none runs on."""
        for broker in self.brokers.values():
            broker.start(wait=False)
        try:
            for broker in self.brokers.values():
                broker.wait_ready()
        except RuntimeError:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill -9 all."""
        for broker in self.brokers.values():
            broker.kill()


def make_broker(folder: Path, *, more: Mapping[str, str] | None = None) -> KafkaBroker:
    """A started broker, or the skip (or failure) that says what is missing."""
    require_engine(Kafka().missing())
    broker = KafkaBroker(folder, more=more)
    broker.start()
    return broker


def make_cluster(folder: Path) -> KafkaCluster:
    """Three started brokers, or the skip (or failure) that says what is missing."""
    require_engine(Kafka().missing())
    cluster = KafkaCluster(folder)
    cluster.start()
    return cluster
