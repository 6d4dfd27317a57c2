"""The embedded log beside bare sqlite3, same rows, same `synchronous`, same batch size, in one run.

    python -m benchmarks.log [--folder DIR] [--rounds N] [--json FILE]

Rows are real: a `detections.made` event with five boxes and its CloudEvents headers, eight of them. Rounds alternate
who goes first; figures are medians of rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from benchmarks.figures import write
from schemas.event import Envelope, Topic
from schemas.events.detections_made import Detection, DetectionsMade
from shared.bus.publisher import message, new_trace
from shared.bus.sqlite import open_sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events.frame_captured import FrameCaptured
    from shared.bus.port import Log, Message

BATCH, BATCHES = 20, 100
PRODUCERS, EACH = 16, 40
TOPIC = Topic(
    name="bench", kind="durable", partitions=8, retention_hours=24, description="benchmark"
)
CAMERAS = [f"camera-{number}" for number in range(8)]
START = 1_700_000_000_000_000  # microseconds
GOAL = 0.5


class Measured(NamedTuple):
    """Records per second of one contest, ours and bare, round by round."""

    name: str
    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """Median of ours over median of bare."""
        return statistics.median(self.ours) / statistics.median(self.bare)


Side = Callable[[Path], Coroutine[Any, Any, float]]


def events(count: int) -> list[Message]:
    boxes = (Detection("person", 0.83, (12.5, 20.25, 40.0, 90.5)),) * 5
    made = [message(looked(number, boxes)) for number in range(count)]
    return [msgspec.structs.replace(one, topic=TOPIC.name) for one in made]


def looked(number: int, boxes: tuple[Detection, ...]) -> Envelope:
    """What a detector saw in the frame of this number; cameras take turns."""
    event = DetectionsMade(
        camera=CAMERAS[number % len(CAMERAS)],
        epoch=1,
        seq=number,
        captured_at=START + number,
        width=640,
        height=360,
        lease=1,
        coverage="full",
        period=200_000,
        model="yolox-nano:0123456789ab",
        detections=boxes,
    )
    return enveloped(event)


def enveloped(event: DetectionsMade | FrameCaptured) -> Envelope:
    """Ready to be sent, named after its frame."""
    name = f"{event.camera}:{event.epoch}:{event.seq}"
    return Envelope(
        id=name,
        source="/vantage/inference/main",
        topic=event.topics[0].name,
        key=event.camera,
        event=event,
        traceparent=new_trace(),
        correlation=name,
    )


async def ours_in_batches(folder: Path) -> float:
    messages = events(BATCH * BATCHES)
    async with open_sqlite(folder, [TOPIC]) as log:
        started = time.perf_counter()
        for first in range(0, len(messages), BATCH):
            await log.append(messages[first : first + BATCH])
        return len(messages) / (time.perf_counter() - started)


async def ours_concurrently(folder: Path) -> float:
    messages = events(PRODUCERS * EACH)

    async def produce(log: Log, own: Sequence[Message]) -> None:
        for one in own:
            await log.append([one])

    async with open_sqlite(folder, [TOPIC]) as log:
        started = time.perf_counter()
        await asyncio.gather(*(produce(log, messages[n::PRODUCERS]) for n in range(PRODUCERS)))
        return len(messages) / (time.perf_counter() - started)


async def bare_in_batches(folder: Path) -> float:
    return _bare(folder, events(BATCH * BATCHES), BATCH)


async def bare_one_by_one(folder: Path) -> float:
    return _bare(folder, events(PRODUCERS * EACH), 1)


def _bare(folder: Path, messages: Sequence[Message], batch: int) -> float:
    """What a user of sqlite3 would write: one table, executemany, one commit a batch."""
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute(
        "CREATE TABLE records(id INTEGER PRIMARY KEY, key TEXT, value BLOB, headers BLOB, at INTEGER)"
    )
    pack = msgspec.msgpack.Encoder().encode
    started = time.perf_counter()
    for first in range(0, len(messages), batch):
        now = time.time_ns() // 1000
        rows = [(m.key, m.value, pack(m.headers), now) for m in messages[first : first + batch]]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO records(key, value, headers, at) VALUES(?,?,?,?)", rows)
        connection.execute("COMMIT")
    rate = len(messages) / (time.perf_counter() - started)
    connection.close()
    return rate


def measure(name: str, ours: Side, bare: Side, folder: Path, rounds: int) -> Measured:
    measured = Measured(name, [], [])
    for number in range(rounds):
        sides = [(ours, measured.ours), (bare, measured.bare)]
        for side, rates in sides if number % 2 else reversed(sides):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                rates.append(asyncio.run(side(Path(place) / "log")))
    return measured


def report(measured: Measured) -> dict[str, Any]:
    ours, bare = (statistics.median(side) for side in (measured.ours, measured.bare))
    print(f"{measured.name:<44} ours {ours:9.0f}/s   bare {bare:9.0f}/s   {measured.ratio:5.2f}")
    return {"ours": measured.ours, "bare": measured.bare, "ratio": measured.ratio, "goal": GOAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the files lie; default: temporary")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder))
        folder, rounds = Path(place), arguments.rounds
        contests = [
            measure(f"{BATCH} events a commit", ours_in_batches, bare_in_batches, folder, rounds),
            measure(
                f"{PRODUCERS} awaited producers / one by one",
                ours_concurrently,
                bare_one_by_one,
                folder,
                rounds,
            ),
        ]
    write({contest.name: report(contest) for contest in contests}, arguments.json)


if __name__ == "__main__":
    main()
