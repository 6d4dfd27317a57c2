"""Workers killed with -9 at each failpoint: lost 0, duplicate effects 0, phantom 0 (R1, R2, R3, R8, R10).

In `make test` each failpoint kills once; in `make chaos` again and again. The SQLite log belongs to
one process, so there the worker itself sends the stimuli and is restarted; on Kafka the test sends them, and for R1
another member takes over. `kill -9` keeps the page cache: this proves process crashes, not power loss.
"""

import asyncio
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.bus.kafka import open_kafka
from tests.chaos.ledger import KEYS, check, drive, effects, poison
from tests.chaos.rig import COUNT, Rig
from tests.chaos.turns import FAULTS, TIMES
from tests.chaos.worker import topics
from tests.contract.bus import until
from tests.engines import processes

if TYPE_CHECKING:
    from tests.engines.kafka import KafkaBroker


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """The bus under test."""
    if request.param == "sqlite":
        rig = Rig(f"sqlite://{tmp_path / 'log'}", tmp_path, None)
        yield rig
        rig.end()
        return
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")
    async with AsyncExitStack() as stack:
        rig = Rig(broker.url, tmp_path, None)
        rig.log = await stack.enter_async_context(open_kafka(broker.url, topics(rig.prefix)))
        yield rig
        rig.end()


@pytest.fixture
async def stimuli(rig: Rig) -> AsyncIterator[Callable[[], None]]:
    """Starts to send, where the test and not the worker does it."""
    tasks: list[asyncio.Task[None]] = []

    def send() -> None:
        if rig.log is not None:
            work = drive(rig.log, topics(rig.prefix)[0], rig.ledger, COUNT)
            tasks.append(asyncio.create_task(work))

    yield send
    await asyncio.gather(*tasks)


FAILPOINTS = {  # and which time they strike: there are few dead letters, and few runs of the relay
    "after_dead_letter_before_commit": 1,
    "before_effect": 3,
    "in_transaction": 2,
    "after_effect_before_commit": 2,
    "after_db_before_publish": 1,
    "after_publish_before_mark": 1,
}


@pytest.mark.row("R1", "R2", "R8", "R10")
async def test_a_worker_killed_at_each_failpoint_in_turn(
    rig: Rig, stimuli: Callable[[], None], record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTS, len(FAILPOINTS))
    stimuli()
    for failpoint, at in FAILPOINTS.items():
        await rig.dies(await rig.start("a", failpoint, at))
    await rig.start("a")
    await rig.settles()
    rig.clean()
    await _parked_once(rig, crashes=len(FAILPOINTS))


@pytest.mark.row("R1", "R2", "R8", "R10", inside=True)
@pytest.mark.chaos
@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_worker_killed_at_one_failpoint_again_and_again(
    rig: Rig,
    stimuli: Callable[[], None],
    failpoint: str,
    chance: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, TIMES)
    stimuli()
    for _ in range(TIMES):
        few = FAILPOINTS[failpoint] == 1
        at = 1 if few else chance.randint(1, 6)
        await rig.dies(await rig.start("a", failpoint, at))
    await rig.start("a")
    await rig.settles()
    rig.clean()
    await _parked_once(rig, crashes=TIMES)


async def _parked_once(rig: Rig, *, crashes: int) -> None:
    """Each bad stimulus is a dead letter, and nothing else is.

    A crash may write a dead letter again, and may make the driver say a bad stimulus again.
    """
    bad = {f"{key}:{n}" for key in KEYS for n in range(COUNT) if poison(f"{key}:{n}")}
    ids = await rig.parked()
    assert set(ids) == bad
    assert len(ids) <= len(bad) + 2 * crashes


@pytest.mark.row("R1")
@pytest.mark.parametrize("rig", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
@pytest.mark.parametrize(
    "failpoint",
    ["after_effect_before_commit", pytest.param("before_effect", marks=pytest.mark.chaos)],
)
async def test_r1_another_member_takes_over_from_one_that_was_killed(
    rig: Rig, stimuli: Callable[[], None], failpoint: str
) -> None:
    await rig.start("b")
    worker = await rig.start("a", failpoint, at=3)
    stimuli()
    await rig.dies(worker)
    await rig.settles("effects", seconds=25.0)
    await rig.start("a")  # its relay's lease is its own
    await rig.settles()
    rig.clean()


@pytest.mark.row("R6")
@pytest.mark.chaos
@pytest.mark.parametrize("rig", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_r6_a_worker_that_slept_past_its_session_does_no_harm(
    rig: Rig, stimuli: Callable[[], None]
) -> None:
    await rig.start("b")
    zombie = await rig.start("a")
    stimuli()
    await rig.reached(20)
    with writing(rig.database):
        processes.freeze(zombie)
    await rig.settles("effects", seconds=25.0)
    processes.thaw(zombie)
    await rig.settles()
    rig.clean()
    assert zombie.poll() is None, rig.output()


@contextmanager
def writing(database: Path) -> Iterator[None]:
    """Hold the lock by which one process at a time writes to this SQLite file, so that nobody falls asleep with it.

    Two processes on one file there are only here; PostgreSQL ends a transaction that stands still.
    """
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.row("R3")
@pytest.mark.parametrize("turns", [1, pytest.param(3, marks=pytest.mark.chaos)])
async def test_r3_sigterm_under_load(
    rig: Rig,
    stimuli: Callable[[], None],
    turns: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTS, turns)
    stimuli()
    for turn in range(1, turns + 1):
        worker = await rig.start("a")
        await rig.reached(30 * turn)
        worker.send_signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait, 10)
        assert worker.returncode == 0, rig.output()
    done = len(effects(rig.database, "effects"))
    await rig.start("a")
    await until(lambda: len(effects(rig.database, "effects")) > done, seconds=5)
    await rig.settles()
    rig.clean()
    assert check(rig.database, rig.ledger, "effects").redelivered == 0
