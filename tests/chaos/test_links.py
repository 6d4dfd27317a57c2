"""A bad link between a worker and the broker (R19): latency, resets, a trickle, a black hole; nothing is lost."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.bus.kafka import open_kafka
from tests.chaos.proxy import FaultProxy
from tests.chaos.rig import SETTLE, Rig
from tests.chaos.turns import FAULTS, TIMES
from tests.chaos.worker import topics
from tests.engines import processes
from tests.engines.kafka import KafkaBroker, make_broker

pytestmark = [pytest.mark.kafka, pytest.mark.row("R19", inside=True)]


class Trouble(NamedTuple):
    """What the link does, and for how many seconds in `make test` and in `make chaos`."""

    faults: dict[str, float]
    dose: float
    full: float


TROUBLES = (
    Trouble({"latency_s": 0.2, "jitter_s": 0.1}, 2.0, 10.0),
    Trouble({"resets": 0.05}, 2.0, 10.0),
    Trouble({"bytes_per_s": 1000}, 2.0, 10.0),
    Trouble({"black_hole": True}, 4.0, 30.0),
)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaBroker, FaultProxy]]:
    """A broker that sends its clients to a proxy."""
    port = processes.free_port()
    advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    broker = make_broker(tmp_path_factory.mktemp("kafka"), more=advertised)
    with FaultProxy("127.0.0.1", broker.port, listen=port) as link:
        yield broker, link
    broker.kill()


@pytest.mark.parametrize("turns", [1, pytest.param(TIMES, marks=pytest.mark.chaos)])
async def test_r19_a_bad_link_to_the_broker(
    behind: tuple[KafkaBroker, FaultProxy],
    turns: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, turns * len(TROUBLES))
    _, link = behind
    rig = Rig(f"kafka://{link.address}", tmp_path, None)
    async with (
        open_kafka(rig.bus, topics(rig.prefix)) as log,
        rig.driven(log, "a", drain=2 * SETTLE),  # worker and sender behind the same bad link
    ):
        for trouble in TROUBLES * turns:
            await rig.goes_on()
            link.set(**trouble.faults)
            await asyncio.sleep(trouble.dose if turns == 1 else trouble.full)
            link.heal()
