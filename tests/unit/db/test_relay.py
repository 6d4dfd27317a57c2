"""The relay: everything reaches the log, in order, under its own id, whatever dies."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from schemas import topics
from schemas.event import Envelope, Event, Picture, Topic
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.clock import ManualClock, SystemClock
from shared.db import outbox
from shared.db.engine import Database
from shared.db.leases import LeaseLost, Leases
from shared.db.relay import LEASE, Relay
from shared.errors import Transient
from tests.engines.databases import open_database


class Said:
    """A publisher that keeps what it is given; `before` may refuse."""

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        self.envelopes: list[Envelope] = []
        self.calls = 0
        self.heard = asyncio.Event()
        self._before = before

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        self.calls += 1
        if self._before is not None:
            self._before(self.calls)
        self.envelopes.extend(envelopes)
        self.heard.set()

    def mint(
        self,
        event: Event,
        *,
        id: str | None = None,
        topic: Topic | None = None,
        picture: Picture | None = None,
        cause: Envelope | None = None,
    ) -> Envelope:
        raise AssertionError("the relay mints nothing")

    def tombstone(self, topic: Topic, key: str) -> Envelope:
        raise AssertionError("the relay mints nothing")

    @property
    def ids(self) -> list[str]:
        return [envelope.id for envelope in self.envelopes]


def status(number: int) -> Envelope:
    event = CameraStatusChanged(camera="door", state="online", attempt=number, changed_at=number)
    return Envelope(
        id=f"e-{number}", source="/vms", topic=topics.CAMERA_STATUS.name, key="door", event=event
    )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, service="vms", clock=SystemClock()) as opened:
        yield opened


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def say(database: Database, numbers: Sequence[int]) -> None:
    async with database.transaction() as tx:
        await tx.add([status(number) for number in numbers])


async def left(database: Database) -> int:
    async with database.read() as reader:
        return int((await reader.execute(outbox.backlog())).one()[0])


async def emptied(database: Database) -> None:
    await until(lambda: _empty(database))


async def _empty(database: Database) -> bool:
    return await left(database) == 0


async def is_leased(database: Database) -> bool:
    return bool(await Leases(database, database.clock).held(LEASE))


async def _says(mover: Relay, status: str) -> bool:
    return (await mover.check()).status == status


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 10 s")


def relay(database: Database, said: Said, *, owner: str = "one", poll_s: float = 60.0) -> Relay:
    return Relay(database, said, owner=owner, clock=database.clock, batch=10, poll_s=poll_s)


async def test_all_arrive_in_order_and_leave_the_outbox(database: Database) -> None:
    said = Said()
    await say(database, range(35))
    async with running(relay(database, said)):
        await emptied(database)
    assert said.ids == [f"e-{number}" for number in range(35)]
    assert said.envelopes[7] == status(7)


async def test_a_commit_wakes_it_without_a_poll(database: Database) -> None:
    said = Said()
    async with running(relay(database, said, poll_s=3600)):
        await asyncio.sleep(0.1)
        await say(database, [1])
        await emptied(database)
        await say(database, [2])
        await emptied(database)
    assert said.ids == ["e-1", "e-2"]


async def test_a_poll_finds_what_another_process_committed(
    database: Database, database_url: str
) -> None:
    said = Said()
    async with running(relay(database, said, poll_s=0.05)):
        async with open_database(database_url, service="vms", clock=SystemClock()) as other:
            await say(other, [1])
        await emptied(database)
    assert said.ids == ["e-1"]


async def test_a_log_that_is_away_is_waited_for(database: Database) -> None:
    def away(call: int) -> None:
        if call <= 3:
            raise Transient("no broker")

    said = Said(away)
    await say(database, [1, 2])
    async with running(relay(database, said)):
        await emptied(database)
    assert said.ids == ["e-1", "e-2"]
    assert said.calls == 4


async def test_what_was_published_but_not_removed_comes_again_with_the_same_id(
    database: Database,
) -> None:
    class Lost(Said):
        async def publish(self, envelopes: Sequence[Envelope]) -> None:
            await super().publish(envelopes)
            if self.calls == 1:
                raise Transient("acknowledged, but the answer was lost")

    said = Lost()
    await say(database, [1, 2])
    async with running(relay(database, said)):
        await emptied(database)
    assert said.ids == ["e-1", "e-2", "e-1", "e-2"]


async def test_killed_between_publish_and_removal_nothing_is_lost(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await say(database, range(5))
    ledger = tmp_path / "ledger"
    code = f"""
import asyncio, os
from shared.clock import SystemClock
from shared.db.relay import Relay
from tests.engines.databases import open_database

class Deadly:
    async def publish(self, envelopes):
        with open({str(ledger)!r}, "w") as file:
            file.write(" ".join(e.id for e in envelopes))
        os.kill(os.getpid(), 9)

async def main():
    clock = SystemClock()
    async with open_database({database_url!r}, service="vms", clock=clock) as db:
        await Relay(db, Deadly(), owner="one", clock=clock).run()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == -9
    said = Said()
    async with running(relay(database, said, owner="one")):  # the same name: at once
        await emptied(database)
    assert said.ids == ledger.read_text().split() == [f"e-{number}" for number in range(5)]


FULL_DISKS = {
    "sqlite": (
        (
            "CREATE TRIGGER full_u BEFORE UPDATE ON leases BEGIN "
            "SELECT RAISE(ABORT, 'database or disk is full'); END",
            "CREATE TRIGGER full_i BEFORE INSERT ON leases BEGIN "
            "SELECT RAISE(ABORT, 'database or disk is full'); END",
        ),
        ("DROP TRIGGER full_u", "DROP TRIGGER full_i"),
    ),
    "postgresql+asyncpg": (
        (
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
            "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON leases EXECUTE FUNCTION full_disk()",
        ),
        ("DROP TRIGGER full_disk ON leases",),
    ),
}


async def test_a_full_disk_is_waited_out_and_said(database: Database, database_url: str) -> None:
    said = Said()
    mover = relay(database, said, owner="one")
    fill, free = FULL_DISKS[database_url.partition("://")[0].removesuffix("+aiosqlite")]
    async with database.transaction() as tx:
        for statement in fill:
            await tx.execute(text(statement))
    async with running(mover):
        await until(lambda: _says(mover, "unhealthy"))
        assert "free some space" in (await mover.check()).reason
        async with database.transaction() as tx:
            for statement in free:
                await tx.execute(text(statement))
        await say(database, [1])
        await emptied(database)
        assert (await mover.check()).status == "healthy"
    assert said.ids == ["e-1"]


async def test_a_second_owner_stands_by_until_the_first_gives_back(database: Database) -> None:
    first, second = Said(), Said()
    async with running(relay(database, second, owner="two", poll_s=0.05)):
        await until(lambda: is_leased(database))
        async with running(relay(database, first, owner="one", poll_s=0.05)):
            await say(database, [1])
            await emptied(database)
            assert (first.ids, second.ids) == ([], ["e-1"])
    async with running(relay(database, first, owner="one", poll_s=0.05)):
        await say(database, [2])
        await emptied(database)
    assert (first.ids, second.ids) == (["e-2"], ["e-1"])


async def test_who_lost_the_lease_removes_nothing(database_url: str) -> None:
    clock = ManualClock(now=1)
    async with open_database(database_url, service="vms", clock=clock) as database:
        await say(database, [1])
        leases = Leases(database, clock)
        old = await leases.take(LEASE, "one", 30)
        assert old is not None
        clock.advance(31)
        assert await leases.take(LEASE, "two", 30) is not None
        with pytest.raises(LeaseLost):
            await relay(database, Said(), owner="one").move(old)
        assert await left(database) == 1


async def test_flush_moves_what_is_there(database: Database) -> None:
    said = Said()
    await say(database, range(25))
    assert await relay(database, said).flush()
    assert len(said.ids) == 25
    assert await left(database) == 0


async def test_an_old_backlog_is_no_good_health(database_url: str) -> None:
    clock = ManualClock(now=1)
    async with open_database(database_url, service="vms", clock=clock) as database:
        watched = relay(database, Said())
        assert (await watched.check()).status == "healthy"
        await say(database, [1, 2])
        assert (await watched.check()).status == "healthy"
        clock.advance(61)
        health = await watched.check()
    assert (health.status, health.details) == ("degraded", {"waiting": 2, "oldest_s": 61.0})
