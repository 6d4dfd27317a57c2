"""A bus, workers on it that can be killed, and the ledger that says what became of each stimulus."""

import asyncio
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.bus.dead_letters import dead_topic
from shared.bus.port import Log
from tests.chaos.ledger import KEYS, Ledger, check, drive, effects, poison
from tests.chaos.worker import opened, topics
from tests.contract.bus import everything, until
from tests.engines import processes

COUNT = 25  # numbers; each is said about every key
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

    @asynccontextmanager
    async def driven(self, log: Log, *workers: str, drain: float) -> AsyncIterator[None]:
        """Stimuli all the time, and workers on them; after the block all that was acknowledged is there within `drain`
        seconds, once and in order."""
        self.log, stop = log, asyncio.Event()
        try:
            for name in workers:
                await self.start(name)
            driving = asyncio.create_task(
                drive(log, topics(self.prefix)[0], self.ledger, 100_000, stop, pause=0.05)
            )
            yield
            stop.set()
            await driving
            await self.quiet(seconds=drain)
            self.clean()
        finally:
            stop.set()
            self.end()

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

    async def goes_on(self, more: int = 40) -> None:
        """Wait until there are so many more effects."""
        await self.reached(len(effects(self.database, "effects")) + more)

    async def quiet(self, *, seconds: float = SETTLE) -> None:
        """Wait until everything that was acknowledged so far has arrived, however much that is."""
        await until(lambda: not check(self.database, self.ledger, "received").lost, seconds=seconds)

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
