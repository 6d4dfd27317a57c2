"""The ledger of what was sent, and the checker: lost, duplicate, phantom, inverted, unseen.

A stimulus is *attempted* before it is appended and *acked* once the log acknowledged it; both are lines on disk,
fsynced, so that they outlive the process. One that was attempted and never acked is indeterminate: it may have an
effect or not, but never two.
"""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.event import Topic
from shared.bus.port import Log
from shared.errors import Transient
from tests.contract.bus import fact

KEYS = ("gate", "yard", "door", "lift", "hall", "roof", "ramp", "dock")


class Ledger:
    """Lines of one file: `? id` attempted, `! id` acked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def attempted(self, ids: Sequence[str]) -> None:
        """About to be appended."""
        self._write("?", ids)

    def acked(self, ids: Sequence[str]) -> None:
        """The log has them."""
        self._write("!", ids)

    def read(self) -> tuple[set[str], set[str]]:
        """The ids that were attempted and those that were acked."""
        lines = self._path.read_text().splitlines()
        return {s[2:] for s in lines}, {s[2:] for s in lines if s.startswith("!")}

    def _write(self, mark: str, ids: Sequence[str]) -> None:
        with self._path.open("a") as file:
            file.writelines(f"{mark} {id}\n" for id in ids)
            file.flush()
            os.fsync(file.fileno())


async def drive(
    log: Log,
    topic: Topic,
    ledger: Ledger,
    count: int,
    stop: asyncio.Event | None = None,
    *,
    pause: float = 0.0,
) -> None:
    """Say `count` numbered facts about each key, in order of each key; what is acked already is not said again.

    `pause`: seconds between two numbers.
    """
    _, acked = ledger.read()
    for number in range(count):
        if stop is not None and stop.is_set():
            return
        keys = [key for key in KEYS if f"{key}:{number}" not in acked]
        ids = [f"{key}:{number}" for key in keys]
        if not keys:
            continue
        await asyncio.sleep(pause)
        await asyncio.to_thread(ledger.attempted, ids)
        while True:
            try:
                await log.append([fact(topic, key, number) for key in keys], timeout=5.0)
            except Transient:
                await asyncio.sleep(random.uniform(0.01, 0.1))
            else:
                break
        await asyncio.to_thread(ledger.acked, ids)


class Findings(NamedTuple):
    """What went wrong; all zero is a pass. `redelivered` is only reported."""

    lost: int
    duplicate: int
    phantom: int
    inverted: int
    redelivered: int

    @property
    def clean(self) -> bool:
        """Nothing went wrong."""
        return not (self.lost or self.duplicate or self.phantom or self.inverted)


def poison(id: str) -> bool:
    """Whether the worker cannot digest this stimulus: one in a hundred."""
    key, _, number = id.partition(":")
    return (int(number) * len(KEYS) + KEYS.index(key)) % 100 == 42


def check(database: Path, ledger: Ledger, table: str) -> Findings:
    """Compare the effects in a table of the worker's database with the ledger."""
    attempted, acked = ledger.read()
    rows = effects(database, table)
    times = Counter(id for id, _ in rows)
    wanted = {id for id in acked if not poison(id)}
    return Findings(
        lost=len(wanted - set(times)),
        duplicate=sum(n - 1 for n in times.values()),
        phantom=sum(id not in attempted or poison(id) for id in times),
        inverted=_inverted([id for id, _ in rows]),
        redelivered=sum(again for _, again in effects(database, "redelivered")),
    )


def effects(database: Path, table: str) -> list[tuple[str, int]]:
    """The (id, 1) rows of a table in the order in which they became true; none before the table is there."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(f"SELECT id, 1 FROM {table} ORDER BY n").fetchall()  # noqa: S608 -- our own name
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def _inverted(ids: Sequence[str]) -> int:
    """Effects that came after a later one of the same key."""
    newest: dict[str, int] = {}
    count = 0
    for id in ids:
        key, _, number = id.partition(":")
        count += int(number) < newest.get(key, -1)
        newest[key] = max(int(number), newest.get(key, -1))
    return count
