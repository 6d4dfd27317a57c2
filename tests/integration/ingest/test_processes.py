"""`vantage run ingest` twice on one real broker and one database: stopped, killed, drained, started again."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from schemas import topics
from schemas.cloudevents import decode
from schemas.event import Envelope
from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamInterrupted
from services.inference.stage import DetectStage
from services.ingest.domain import Member, assign
from shared.bus.kafka import open_kafka
from shared.bus.port import Log
from shared.bus.publisher import message
from shared.errors import Transient
from tests.contract.bus import until
from tests.engines import processes
from tests.engines.kafka import KafkaBroker
from tests.integration.ingest.conftest import camera

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
SECOND = 1_000_000
NAMES = ("north", "south", "east", "west")
LEASE_S = 10  # a shorter one is lost by a busy machine's pauses, and then it is not given back soon


class Yard:
    """A broker, a database, ingest processes on both, and what they said on `frames`, in its order."""

    def __init__(self, broker: KafkaBroker, database: str, folder: Path) -> None:
        self.heard: list[Envelope] = []
        self._broker = broker
        self._database = database
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, instance: str) -> subprocess.Popen[bytes]:
        """Start an ingest process, and return when it listens."""
        log = self._folder / f"{instance}-{len(self._processes)}.log"
        environment = {
            "VANTAGE_BUS_URL": self._broker.url,
            "VANTAGE_DB_URL": self._database,
            "VANTAGE_DATA_DIR": str(self._folder / "data"),
            "VANTAGE_INSTANCE": instance,
            "VANTAGE_INGEST_LEASE": str(LEASE_S),
            "VANTAGE_METRICS_PORT": "0",
        }
        command = ["services.main", "run", "ingest", "--port", "0"]
        process = processes.spawn(
            [sys.executable, "-m", *command], log=log, environment=environment
        )  # fmt: skip
        self._processes.append(process)
        processes.wait_until(
            lambda: "Vantage listens on" in log.read_text(), seconds=60, process=process, log=log
        )
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
            processes.kill(process)

    def holders(self, *, since: int) -> dict[str, str]:
        """Who said the newest frame of each camera since that place in what was heard."""
        said = [one for one in self.heard[since:] if isinstance(one.event, FrameCaptured)]
        return {one.key: one.source.rpartition("/")[2] for one in said}

    async def until_held(self, wanted: dict[str, str]) -> None:
        """Wait until each camera's newest frames are its holder's."""
        since = len(self.heard)
        try:
            await until(lambda: self.holders(since=since) == wanted, seconds=120)
        except AssertionError as error:
            for log in self._folder.glob("*.log"):
                error.add_note(f"{log.name}: {log.read_text()[-4000:]}")
            raise

    def gap(self, name: str) -> StreamInterrupted:
        """The newest interruption of a camera."""
        found = [one.event for one in self.heard if one.key == name]
        return [event for event in found if isinstance(event, StreamInterrupted)][-1]


@pytest.fixture
def yard(own_kafka_broker: KafkaBroker, postgres_url: str, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(own_kafka_broker, postgres_url, tmp_path)
    yield made
    made.end()


class Nobody:
    """A tail's partitions never move."""

    async def assigned(self, _: object) -> None: ...

    async def revoked(self, _: object) -> None: ...


@asynccontextmanager
async def hearing(log: Log, yard: Yard) -> AsyncIterator[None]:
    """Keep everything that is said on `frames`."""
    reader = await log.reader(
        [topics.FRAMES], kind="tail", group="test", member="test", listener=Nobody()
    )

    async def hear() -> None:
        while True:
            with suppress(Transient):
                for records in (await reader.fetch(max_records=100, timeout=0.2)).values():
                    yard.heard += [
                        decode(r.partition.topic, r.key or "", r.headers, r.value) for r in records
                    ]

    try:
        async with asyncio.TaskGroup() as group:  # who hears no more fails the test at once
            task = group.create_task(hear())
            yield
            task.cancel()
    finally:
        await reader.close()


async def configure(log: Log) -> None:
    documents = [
        camera(name=name, url="sim://demo?fps=4&size=256x144&duration=3600") for name in NAMES
    ]
    await log.append(
        [
            message(Envelope(id=one.camera, source="/test", topic="cameras", key=one.camera, event=one))
            for one in documents
        ]
    )  # fmt: skip


def share(*members: str) -> dict[str, str]:
    return dict(assign(NAMES, [Member(name) for name in members]))


@pytest.mark.row("R25")
@pytest.mark.timeout(480)
async def test_cameras_move_when_their_process_is_stopped_killed_or_drained(yard: Yard) -> None:
    async with open_kafka(yard._broker.url) as log, hearing(log, yard):
        await configure(log)
        first = await asyncio.to_thread(yard.start, "a")
        second = await asyncio.to_thread(yard.start, "b")
        await yard.until_held(share("a", "b"))
        assert set(share("a", "b").values()) == {"a", "b"}

        first.send_signal(signal.SIGSTOP)  # a zombie: it does not know that time passes
        await yard.until_held(dict.fromkeys(NAMES, "b"))
        first.send_signal(signal.SIGCONT)
        await yard.until_held(dict.fromkeys(NAMES, "b"))
        assert no_word_of_a_former_holder_counts(yard.heard)

        processes.kill(second)
        await yard.until_held(dict.fromkeys(NAMES, "a"))
        killed = [yard.gap(name) for name in NAMES]
        assert all(gap.until - gap.since < 30 * SECOND for gap in killed), killed
        assert {gap.reason for gap in killed} == {"ingest process b left the camera"}

        second = await asyncio.to_thread(yard.start, "b")
        await yard.until_held(share("a", "b"))
        first.terminate()
        await yard.until_held(dict.fromkeys(NAMES, "b"))
        assert await asyncio.to_thread(first.wait, 15) == 0
        moved = [name for name, owner in share("a", "b").items() if owner == "a"]
        drained = [yard.gap(name) for name in moved]
        assert longest(drained) < shortest(killed), (drained, killed)
        assert no_word_of_a_former_holder_counts(yard.heard)


def longest(gaps: list[StreamInterrupted]) -> int:
    return max(gap.until - gap.since for gap in gaps)


def shortest(gaps: list[StreamInterrupted]) -> int:
    return min(gap.until - gap.since for gap in gaps)


def no_word_of_a_former_holder_counts(heard: list[Envelope]) -> bool:
    """Whether inference, hearing all this, only ever says on what the newest holder said, each frame once."""
    stage = DetectStage(plan_of=lambda _: None, detector_of=lambda _: None)
    newest: dict[str, int] = {}
    seen: set[tuple[str, int, int]] = set()
    for envelope in heard:
        for said in stage.run(envelope):
            event = said.event
            if event is None or event.lease < newest.get(said.key, 0):  # type: ignore[attr-defined]
                return False
            newest[said.key] = event.lease  # type: ignore[attr-defined]
            if isinstance(event, DetectionsMade):
                if (event.camera, event.epoch, event.seq) in seen:
                    return False
                seen.add((event.camera, event.epoch, event.seq))
    return len(newest) == len(NAMES)
