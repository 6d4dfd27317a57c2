"""A bad link between a worker and the broker (R19): latency, resets, a trickle, a black hole; nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.bus.kafka import open_kafka
from tests.chaos.ledger import drive
from tests.chaos.proxy import FaultProxy
from tests.chaos.rig import COUNT, SETTLE, Rig
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


@pytest.fixture
async def rig(behind: tuple[KafkaBroker, FaultProxy], tmp_path: Path) -> AsyncIterator[Rig]:
    """Worker and sender behind the same bad link."""
    rig = Rig(f"kafka://{behind[1].address}", tmp_path, None)
    async with open_kafka(rig.bus, topics(rig.prefix)) as log:
        rig.log = log
        yield rig
        rig.end()


@pytest.mark.parametrize("turns", [1, pytest.param(TIMES, marks=pytest.mark.chaos)])
async def test_r19_a_bad_link_to_the_broker(
    rig: Rig,
    behind: tuple[KafkaBroker, FaultProxy],
    turns: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, turns * len(TROUBLES))
    _, link = behind
    assert rig.log is not None
    stimuli, tranche = topics(rig.prefix)[0], COUNT // len(TROUBLES)
    await rig.start("a")
    for number, trouble in enumerate(TROUBLES, 1):
        for _ in range(turns):
            link.set(**trouble.faults)
            count = COUNT if number == len(TROUBLES) else tranche * number
            sending = asyncio.create_task(drive(rig.log, stimuli, rig.ledger, count))
            await asyncio.sleep(trouble.dose if turns == 1 else trouble.full)
            link.heal()
            await sending
    await rig.settles(seconds=2 * SETTLE)
    rig.clean()
