"""What every database promises: units of work, outbox, inbox, checkpoints and leases, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, Integer, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from schemas import topics
from schemas.event import Envelope
from schemas.events.camera_status_changed import CameraStatusChanged
from shared.bus.port import CommitRefused, Partition
from shared.clock import ManualClock
from shared.db import outbox
from shared.db.base import INBOX, OUTBOX, new_metadata
from shared.db.checkpoints import Checkpoints
from shared.db.engine import Database, DatabaseUnavailable, Unstorable
from shared.db.inbox import InboxExpiry
from shared.db.leases import LeaseLost, Leases, fence
from shared.errors import Invalid, Poison
from tests.engines.databases import open_database

DAY_S = 86_400
DETECTIONS = Partition("detections", 3)
THINGS = Table(
    "things",
    new_metadata("vms"),
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=1_000_000_000)


@pytest.fixture
async def database(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    async with open_database(database_url, service="vms", clock=clock) as opened:
        async with opened.transaction() as tx:
            await tx.execute(CreateTable(THINGS))
        yield opened


def status(number: int, *, camera: str = "door") -> Envelope:
    return Envelope(
        id=f"{camera}-{number}",
        source="/vms",
        topic=topics.CAMERA_STATUS.name,
        key=camera,
        event=CameraStatusChanged(camera=camera, state="online", attempt=number, changed_at=number),
    )


async def count(database: Database, table: Table = THINGS) -> int:
    async with database.read() as reader:
        return int((await reader.execute(select(func.count()).select_from(table))).scalar_one())


async def waiting(database: Database) -> list[Envelope]:
    async with database.read() as reader:
        return [outbox.envelope(row) for row in await reader.execute(outbox.oldest(1000))]


class TestUnitOfWork:
    async def test_rows_events_and_marks_are_committed_together(self, database: Database) -> None:
        async with database.transaction() as tx:
            await tx.execute(insert(THINGS), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
            await tx.add([status(1)])
            assert await tx.fresh("stage", ["x"]) == {"x"}
        assert (await count(database), await count(database, OUTBOX)) == (2, 1)
        assert await count(database, INBOX) == 1

    async def test_an_error_takes_all_of_it_back(self, database: Database) -> None:
        calls: list[str] = []

        async def fail() -> None:
            async with database.transaction() as tx:
                tx.after_commit(lambda: calls.append("called"))
                await tx.execute(insert(THINGS), {"id": 1, "name": "a"})
                await tx.add([status(1)])
                await tx.fresh("stage", ["x"])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert (await count(database), await count(database, OUTBOX)) == (0, 0)
        assert await count(database, INBOX) == 0
        assert calls == []
        assert not database.outbox_filled.is_set()

    async def test_a_refused_row_is_the_callers_error(self, database: Database) -> None:
        with pytest.raises(IntegrityError):
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])
        assert await count(database) == 0

    async def test_calls_after_commit_see_the_commit(self, database: Database) -> None:
        calls: list[str] = []
        async with database.transaction() as tx:
            tx.after_commit(lambda: calls.append("called"))
            assert calls == []
        assert calls == ["called"]

    async def test_who_is_alone_sees_all_that_came_before(self, database: Database) -> None:
        async def add(id: int) -> None:
            async with database.transaction() as tx:
                await tx.alone("numbers")
                before = (await tx.execute(select(func.count()).select_from(THINGS))).scalar_one()
                await asyncio.sleep(0)
                await tx.execute(insert(THINGS), {"id": id, "name": str(before)})

        await asyncio.gather(*(add(id) for id in range(20)))
        async with database.read() as reader:
            names = [row.name for row in await reader.execute(select(THINGS.c.name))]
        assert sorted(map(int, names)) == list(range(20))

    async def test_a_transaction_within_a_transaction_is_refused(self, database: Database) -> None:
        async with database.transaction():
            with pytest.raises(RuntimeError, match="within a transaction"):
                async with database.transaction():
                    pass

    async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(
        self, database: Database
    ) -> None:
        begun = asyncio.Event()

        async def hang() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), {"id": 1, "name": "a"})
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with database.transaction() as tx:
            await tx.execute(insert(THINGS), {"id": 2, "name": "b"})
        assert await count(database) == 1

    async def test_a_writer_cancelled_at_any_step_is_all_or_nothing(
        self, database: Database
    ) -> None:
        done: set[int] = set()

        async def write(id: int) -> None:
            async with database.transaction() as tx:
                tx.after_commit(lambda: done.add(id))
                await tx.execute(insert(THINGS), {"id": id, "name": "a"})

        for id in range(40):
            task = asyncio.create_task(write(id))
            for _ in range(id % 20):
                await asyncio.sleep(0.0002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with database.read() as reader:
            kept = {row.id for row in await reader.execute(select(THINGS.c.id))}
        assert kept == done

    @pytest.mark.parametrize(("id", "name"), [(1, "half a pair: \ud800"), (2**63, "too large")])
    async def test_what_cannot_be_stored_is_said_for_good(
        self, database: Database, id: int, name: str
    ) -> None:
        async def store() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), {"id": 7, "name": "fine"})
                await tx.execute(insert(THINGS), {"id": id, "name": name})

        with pytest.raises(Unstorable) as refusal:
            await store()
        assert isinstance(refusal.value, Invalid)  # HTTP: 422
        assert isinstance(refusal.value, Poison)  # the log: set aside
        assert await count(database) == 0

    async def test_a_search_for_what_cannot_be_stored_is_refused_alike(
        self, database: Database
    ) -> None:
        with pytest.raises(Unstorable):
            async with database.read() as reader:
                await reader.execute(select(THINGS).where(THINGS.c.id == 2**63))
        assert (await database.check()).status == "healthy"


class TestRead:
    async def test_it_sees_one_moment(self, database: Database) -> None:
        async with database.read() as reader:
            first = (await reader.execute(select(func.count()).select_from(THINGS))).scalar_one()
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), {"id": 1, "name": "a"})
            second = (await reader.execute(select(func.count()).select_from(THINGS))).scalar_one()
        assert (first, second, await count(database)) == (0, 0, 1)

    async def test_it_cannot_write(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            async with database.read() as reader:
                await reader.execute(insert(THINGS), {"id": 1, "name": "a"})
        assert await count(database) == 0

    async def test_its_check_is_healthy(self, database: Database) -> None:
        assert (await database.check()).status == "healthy"


class TestOutbox:
    async def test_events_come_out_as_they_went_in(self, database: Database) -> None:
        given = [status(1), status(2, camera="yard"), status(3)]
        async with database.transaction() as tx:
            await tx.add(given)
        assert await waiting(database) == given
        assert database.outbox_filled.is_set()

    async def test_the_events_of_a_key_stand_in_the_order_of_their_commits(
        self, database: Database
    ) -> None:
        order: list[str] = []
        open_now: set[str] = set()

        async def say(writer: int, number: int) -> None:
            event = status(100 * writer + number)
            async with database.transaction() as tx:
                await tx.add([status(number, camera=f"own{writer}")])
                await tx.add([event])
                assert not open_now  # who has added to the key before has committed
                open_now.add(event.id)
                await asyncio.sleep(0)
                order.append(event.id)
                open_now.remove(event.id)

        async def write(writer: int) -> None:
            for number in range(8):
                await say(writer, number)

        await asyncio.gather(*(write(writer) for writer in range(6)))
        stood = [event.id for event in await waiting(database) if event.key == "door"]
        assert stood == order
        assert len(stood) == 48

    async def test_a_tombstone_stays_one(self, database: Database) -> None:
        gone = Envelope(id="t", source="/vms", topic="cameras", key="door", event=None)
        async with database.transaction() as tx:
            await tx.add([gone])
        assert await waiting(database) == [gone]


class TestInbox:
    async def test_an_id_is_fresh_once_a_consumer(self, database: Database) -> None:
        async with database.transaction() as tx:
            assert await tx.fresh("one", ["a", "b", "a"]) == {"a", "b"}
        async with database.transaction() as tx:
            assert await tx.fresh("one", ["b", "c"]) == {"c"}
            assert await tx.fresh("two", ["b", "c"]) == {"b", "c"}
            assert await tx.fresh("one", []) == set()

    async def test_thousands_in_one_call(self, database: Database) -> None:
        ids = [f"id-{number}" for number in range(5000)]
        async with database.transaction() as tx:
            assert await tx.fresh("one", ids[:3000]) == set(ids[:3000])
            assert await tx.fresh("one", ids) == set(ids[3000:])

    async def test_old_marks_expire(self, database: Database, clock: ManualClock) -> None:
        async with database.transaction() as tx:
            await tx.fresh("one", [f"id-{number}" for number in range(1500)])
        clock.advance(10 * DAY_S)
        async with database.transaction() as tx:
            await tx.fresh("one", ["new"])
        assert await InboxExpiry(database, clock, keep_days=9).expire() == 1500
        assert await count(database, INBOX) == 1


class TestCheckpoints:
    async def test_nothing_is_stored_at_first(self, database: Database) -> None:
        checkpoints = Checkpoints(database)
        assert await checkpoints.load("stage", DETECTIONS) is None
        assert await checkpoints.state("stage", DETECTIONS) is None

    async def test_state_and_position_go_on_together(self, database: Database) -> None:
        checkpoints = Checkpoints(database)
        for offset in (7, 7, 12):
            async with database.transaction() as tx:
                await checkpoints.save(tx, "stage", DETECTIONS, offset, b"at %d" % offset)
            assert await checkpoints.load("stage", DETECTIONS) == offset
            assert await checkpoints.state("stage", DETECTIONS) == b"at %d" % offset
        assert await checkpoints.load("other", DETECTIONS) is None
        assert await checkpoints.load("stage", Partition("detections", 4)) is None

    async def test_a_rollback_keeps_the_old_position(self, database: Database) -> None:
        checkpoints = Checkpoints(database)

        async def fail() -> None:
            async with database.transaction() as tx:
                await checkpoints.save(tx, "stage", DETECTIONS, 7, b"")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await checkpoints.load("stage", DETECTIONS) is None

    async def test_who_lost_the_partition_cannot_turn_it_back(self, database: Database) -> None:
        checkpoints = Checkpoints(database)
        async with database.transaction() as tx:
            await checkpoints.save(tx, "stage", DETECTIONS, 12, b"new owner")

        async def turn_back() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), {"id": 1, "name": "zombie"})
                await checkpoints.save(tx, "stage", DETECTIONS, 11, b"zombie")

        with pytest.raises(CommitRefused):
            await turn_back()
        assert await checkpoints.state("stage", DETECTIONS) == b"new owner"
        assert await count(database) == 0


class TestLeases:
    async def test_one_owner_at_a_time(self, database: Database, clock: ManualClock) -> None:
        leases = Leases(database, clock)
        first = await leases.take("camera/door", "a", 10)
        assert first is not None
        assert first.generation == 1
        assert await leases.take("camera/door", "b", 10) is None
        assert await leases.take("camera/yard", "b", 10) is not None
        assert [lease.name for lease in await leases.held("camera/d")] == ["camera/door"]

    async def test_of_many_askers_one_wins(self, database: Database, clock: ManualClock) -> None:
        leases = Leases(database, clock)
        answers = await asyncio.gather(*(leases.take("x", f"o{n}", 10) for n in range(8)))
        assert sum(answer is not None for answer in answers) == 1

    async def test_an_expired_one_goes_to_the_next(
        self, database: Database, clock: ManualClock
    ) -> None:
        leases = Leases(database, clock)
        old = await leases.take("x", "a", 10)
        assert old is not None
        clock.advance(10)
        new = await leases.take("x", "b", 10)
        assert new is not None
        assert new.generation == 2
        assert await leases.renew(old, 10) is None

    async def test_renewing_keeps_others_out(self, database: Database, clock: ManualClock) -> None:
        leases = Leases(database, clock)
        lease = await leases.take("x", "a", 10)
        assert lease is not None
        clock.advance(9)
        renewed = await leases.renew(lease, 10)
        assert renewed is not None
        assert renewed.generation == lease.generation
        clock.advance(9)
        assert await leases.take("x", "b", 10) is None

    async def test_a_restarted_owner_takes_its_own_back_at_once(
        self, database: Database, clock: ManualClock
    ) -> None:
        leases = Leases(database, clock)
        before = await leases.take("x", "a", 10)
        after = await leases.take("x", "a", 10)
        assert before is not None
        assert after is not None
        assert after.generation == before.generation + 1
        assert await leases.renew(before, 10) is None

    async def test_releasing_keeps_the_generation(
        self, database: Database, clock: ManualClock
    ) -> None:
        leases = Leases(database, clock)
        lease = await leases.take("x", "a", 10)
        assert lease is not None
        await leases.release(lease)
        assert await leases.held() == []
        next_one = await leases.take("x", "b", 10)
        assert next_one is not None
        assert next_one.generation == 2
        await leases.release(lease)  # too late: it is another's now
        assert [lease.owner for lease in await leases.held()] == ["b"]

    async def test_a_fence_stops_who_lost_it(self, database: Database, clock: ManualClock) -> None:
        leases = Leases(database, clock)
        old = await leases.take("x", "a", 10)
        assert old is not None
        async with database.transaction() as tx:
            await fence(tx, old)
            await tx.execute(insert(THINGS), {"id": 1, "name": "in time"})
        clock.advance(11)
        await leases.take("x", "b", 10)

        async def act() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(THINGS), {"id": 2, "name": "too late"})
                await fence(tx, old)

        with pytest.raises(LeaseLost, match="generation 1"):
            await act()
        assert await count(database) == 1
