"""Workers killed with -9 at each failpoint: lost 0, duplicate effects 0, phantom 0 (R1, R2, R3, R8, R10).

In `make test` each failpoint kills once; in `make chaos` three times (VANTAGE_CHAOS_REPEAT). The SQLite log belongs to
one process, so there the worker itself sends the stimuli and is restarted; on Kafka the test sends them, and for R1
another member takes over. `kill -9` keeps the page cache: this proves process crashes, not power loss.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.bus.dead_letters import dead_topic
from shared.bus.kafka import open_kafka
from shared.bus.port import Log
from tests.chaos.ledger import KEYS, Ledger, check, drive, effects, poison
from tests.chaos.worker import opened, topics
from tests.contract.bus import everything, until
from tests.engines import processes

if TYPE_CHECKING:
    from tests.engines.kafka import KafkaBroker

COUNT = 25  # numbers; each is said about every key
REPEAT = int(os.environ.get("VANTAGE_CHAOS_REPEAT", "3"))
SETTLE = 40.0  # seconds: a session of 6 s, a rebalance, and a busy machine


class Rig:
    """A bus, a folder with the worker's database and ledger, and the workers that run on them."""

    def __init__(self, bus: str, folder: Path, log: Log | None) -> None:
        self.bus = bus
        self.folder = folder
        self.log = log  # None: the log belongs to the worker
        self.prefix = f"c-{uuid.uuid4().hex[:10]}"
        self.ledger = Ledger(folder / "ledger")
        self.database = folder / "worker.db"
        self._workers: list[subprocess.Popen[bytes]] = []

    async def start(self, name: str, failpoint: str = "", at: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it works."""
        out = self.folder / f"{name}-{len(self._workers)}.log"
        drives = [] if self.log else ["--drive", str(COUNT)]
        place = ["--bus", self.bus, "--folder", str(self.folder), "--prefix", self.prefix]
        command = [sys.executable, "-m", "tests.chaos.worker", *place, "--name", name, *drives]
        if failpoint:
            command += ["--failpoint", failpoint, "--at", str(at)]
        worker = processes.spawn(command, log=out)
        self._workers.append(worker)
        await until(lambda: "ready" in out.read_text() or worker.poll() is not None)
        return worker

    async def dies(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until a failpoint has killed it."""
        await until(lambda: worker.poll() is not None, seconds=SETTLE)
        assert worker.returncode == -signal.SIGKILL, self.output()

    async def reached(self, count: int) -> None:
        """Wait until there are so many effects."""
        await until(lambda: len(effects(self.database, "effects")) >= count, seconds=SETTLE)

    async def settles(self, table: str = "received", *, seconds: float = SETTLE) -> None:
        """Wait until everything that was sent has arrived."""
        wanted = {f"{key}:{n}" for key in KEYS for n in range(COUNT)}
        wanted = {id for id in wanted if not poison(id)}
        deadline = time.monotonic() + seconds
        while not wanted <= {id for id, _ in effects(self.database, table)}:
            assert time.monotonic() < deadline, f"not settled: {self.findings()}\n{self.output()}"
            await asyncio.sleep(0.05)

    def findings(self) -> dict[str, object]:
        """What the checker says of the effects and of what was received."""
        tables = ("effects", "received")
        return {table: check(self.database, self.ledger, table) for table in tables}

    def clean(self) -> None:
        """Lost 0, duplicate effects 0, phantom 0, inverted 0."""
        for table in ("effects", "received"):
            findings = check(self.database, self.ledger, table)
            assert findings.clean, (table, findings, self.output())

    async def parked(self) -> list[str]:
        """Ids of the dead letters, after the workers ended."""
        self.end()
        stimuli, derived = topics(self.prefix)
        async with opened(self.bus, (stimuli, derived)) as log:
            letters = await everything(log, dead_topic(stimuli))
        return [dict(letter.headers)["ce_id"].decode() for letter in letters]

    def output(self) -> str:
        """The last lines of every worker."""
        return "\n".join(
            f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    def end(self) -> None:
        """End every worker that still runs."""
        for worker in self._workers:
            processes.end(worker)


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
    rig: Rig, stimuli: Callable[[], None]
) -> None:
    stimuli()
    for failpoint, at in FAILPOINTS.items():
        await rig.dies(await rig.start("a", failpoint, at))
    await rig.start("a")
    await rig.settles()
    rig.clean()
    await _parked_once(rig, crashes=len(FAILPOINTS))


@pytest.mark.row("R1", "R2", "R8", "R10")
@pytest.mark.chaos
@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_worker_killed_at_one_failpoint_again_and_again(
    rig: Rig, stimuli: Callable[[], None], failpoint: str
) -> None:
    chance = random.Random(failpoint)
    stimuli()
    for _ in range(REPEAT):
        few = FAILPOINTS[failpoint] == 1
        at = 1 if few else chance.randint(1, 6)
        await rig.dies(await rig.start("a", failpoint, at))
    await rig.start("a")
    await rig.settles()
    rig.clean()
    await _parked_once(rig, crashes=REPEAT)


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
    zombie.send_signal(signal.SIGSTOP)
    await rig.settles("effects", seconds=25.0)
    zombie.send_signal(signal.SIGCONT)
    await rig.settles()
    rig.clean()
    assert zombie.poll() is None, rig.output()


@pytest.mark.row("R3")
@pytest.mark.parametrize("turns", [1, pytest.param(REPEAT, marks=pytest.mark.chaos)])
async def test_r3_sigterm_under_load(rig: Rig, stimuli: Callable[[], None], turns: int) -> None:
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
