"""PostgreSQL in its own ways: many writers, NOTIFY, dead connections, and a clear word to who cannot start."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from schemas.event import Envelope
from shared.clock import ManualClock, SystemClock
from shared.db.engine import Database, DatabaseUnavailable, Unstorable
from shared.db.postgres import ears, meeting, open_postgres
from shared.db.relay import Relay
from shared.errors import Setup
from tests.engines import processes
from tests.engines.postgres import PASSWORD, PostgresServer
from tests.unit.db.conftest import Package
from tests.unit.db.schemas import FIRST, PLATFORM_TABLES, tables
from tests.unit.db.test_relay import Said, emptied, running, say, status

pytestmark = pytest.mark.postgres
CLOCK = ManualClock(now=1)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with open_postgres(postgres_url, service="vms", clock=SystemClock()) as opened:
        yield opened


async def refusal(url: str, **options: Any) -> str:
    """What a process hears that cannot start; it never holds the password."""
    with pytest.raises(Setup) as refused:
        async with open_postgres(url, service="vms", clock=CLOCK, **options):
            pass
    words = str(refused.value)
    assert "VANTAGE_DB_URL" in words
    assert PASSWORD not in words
    assert "geheim" not in words
    return words


class TestStart:
    @pytest.mark.parametrize(
        ("url", "remedy"),
        [
            ("postgresql+asyncpg://", "host or database is missing"),
            ("postgresql+asyncpg://u:geheim@host", "host or database is missing"),
            ("postgresql+psycopg://u:geheim@host/db", "host or database is missing"),
            ("postgresql+asyncpg://u:geheim@host:many/db", "is no URL"),
            ("postgresql+asyncpg://u:geheim@h/d?sslmode=always", "use one of disable"),
            ("postgresql+asyncpg://u@h/d?password=geheim", "'password' is unknown"),
            ("postgresql+asyncpg://u:geheim@h/d?sslrootcert=/x", "needs sslmode=verify-full"),
            ("postgresql+asyncpg://u@h/d?sslmode=verify-full&sslrootcert=/no", "sslrootcert=/no"),
            ("postgresql+asyncpg://u@h/d?sslmode=require&sslcert=/no", "go together"),
            ("postgresql+asyncpg://u@h/d?sslmode=require&sslcert=/a&sslkey=/b", "sslcert, sslkey"),
        ],
    )
    async def test_a_url_that_cannot_be_used(self, url: str, remedy: str) -> None:
        assert remedy in await refusal(url)

    async def test_nobody_listens(self) -> None:
        port = processes.free_port()
        words = await refusal(f"postgresql+asyncpg://u:geheim@127.0.0.1:{port}/db")
        assert f"127.0.0.1:{port}/db" in words
        assert "see whether it runs" in words

    async def test_the_password_is_refused(self, postgres_server: PostgresServer) -> None:
        words = await refusal(postgres_server.url("postgres", password="geheim"))
        assert "user or password is refused" in words

    async def test_there_is_no_such_database(self, postgres_server: PostgresServer) -> None:
        assert "CREATE DATABASE" in await refusal(postgres_server.url("nowhere"))

    async def test_a_user_without_rights(
        self, postgres_server: PostgresServer, postgres_url: str
    ) -> None:
        name = postgres_url.rpartition("/")[2]
        postgres_server.sql(f"CREATE ROLE guest_{name} LOGIN PASSWORD 'geheim'")
        try:
            url = postgres_server.url(name, user=f"guest_{name}", password="geheim")
            assert "ALTER DATABASE name OWNER TO" in await refusal(url)
            postgres_server.sql("CREATE SCHEMA vms", database=name)
            assert "ALTER SCHEMA name OWNER TO" in await refusal(url)
        finally:
            postgres_server.sql(f"DROP ROLE guest_{name}")

    @pytest.mark.parametrize(
        ("setting", "remedy"),
        [
            ("default_transaction_read_only = on", "name the primary"),
            ("synchronous_commit = off", "SET synchronous_commit = on"),
        ],
    )
    async def test_a_database_that_is_set_wrong(
        self, postgres_server: PostgresServer, postgres_url: str, setting: str, remedy: str
    ) -> None:
        name = postgres_url.rpartition("/")[2]
        postgres_server.sql(f"ALTER DATABASE {name} SET {setting}")
        assert remedy in await refusal(postgres_url)

    async def test_another_encoding(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.new_database(
            "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        try:
            assert "ENCODING 'UTF8'" in await refusal(postgres_server.url(name))
        finally:
            postgres_server.drop_database(name)

    async def test_too_old(self, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(meeting, "OLDEST", 99)
        assert "too old; 99 is the oldest" in await refusal(postgres_url)

    @pytest.mark.parametrize("off", [-60, 60])
    async def test_clocks_that_differ(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch, off: int
    ) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + off, monotonic=time.monotonic)
        monkeypatch.setattr(meeting, "time", clock)
        assert "set both by NTP" in await refusal(postgres_url)

    async def test_migrations_that_are_missing(self, postgres_url: str) -> None:
        with pytest.raises(Setup, match="reinstall"):
            async with open_postgres(
                postgres_url, service="vms", clock=CLOCK, migrations="shared.db.nothing"
            ):
                pass

    async def test_many_processes_at_once_migrate_once(
        self, postgres_url: str, package: Package
    ) -> None:
        package.write("0001_first", FIRST)

        async def start() -> str:
            async with open_postgres(
                postgres_url, service="vms", clock=CLOCK, migrations=package.name
            ) as opened:
                return (await opened.check()).status

        assert await asyncio.gather(*(start() for _ in range(8))) == ["healthy"] * 8
        assert await tables(postgres_url) == sorted([*PLATFORM_TABLES, "things", "vms_alembic"])

    async def test_each_service_has_its_schema(self, postgres_url: str) -> None:
        for service in ("vms", "ingest"):
            async with open_postgres(postgres_url, service=service, clock=CLOCK):
                assert await tables(postgres_url, service) == PLATFORM_TABLES


class TestManyWriters:
    async def test_they_do_not_wait_for_each_other(self, database: Database) -> None:
        said = Said()
        relay = Relay(database, said, owner="a", clock=database.clock)
        async with database.transaction() as slow:  # its row has the lowest number of all
            await slow.add([event("slow", "slow")])
            await asyncio.gather(*(say(database, [number]) for number in range(20)))
            assert await asyncio.create_task(relay.flush())
            assert sorted(said.ids) == sorted(f"e-{number}" for number in range(20))
        assert await relay.flush()
        assert said.ids[20:] == ["slow"]

    async def test_the_events_of_one_key_do(self, database: Database) -> None:
        async with database.transaction() as first:
            await first.add([event("first")])
            second = asyncio.create_task(say_one(database, "second"))
            await until_waiting(database)
        await second
        said = Said()
        assert await Relay(database, said, owner="a", clock=database.clock).flush()
        assert said.ids == ["first", "second"]

    async def test_who_waits_too_long_for_a_lock_is_told_so(self, database: Database) -> None:
        async with database.transaction() as first:
            await first.alone("register")

            async def ask() -> None:
                async with database.transaction() as second:
                    await second.execute(text("SET LOCAL lock_timeout = '50ms'"))
                    await second.alone("register")

            with pytest.raises(DatabaseUnavailable, match="another transaction holds"):
                await asyncio.create_task(ask())

    async def test_of_two_that_wait_for_each_other_one_gives_way(self, database: Database) -> None:
        met = asyncio.Barrier(2)

        async def take(one: str, other: str) -> None:
            async with database.transaction() as tx:
                await tx.alone(one)
                await met.wait()
                await tx.alone(other)

        answers = await asyncio.gather(take("a", "b"), take("b", "a"), return_exceptions=True)
        (refused,) = [answer for answer in answers if answer is not None]
        assert isinstance(refused, DatabaseUnavailable)
        assert "gave way" in str(refused)

    async def test_no_connection_is_free(self, postgres_url: str) -> None:
        async with (
            open_postgres(postgres_url, service="vms", clock=CLOCK, pool=2) as small,
            small.transaction(),
        ):
            with pytest.raises(DatabaseUnavailable, match="VANTAGE_DB_POOL"):
                await asyncio.create_task(say_one(small, "second"))
            assert (await small.check()).status == "healthy"  # reading has its own

    async def test_a_statement_that_takes_too_long_is_stopped(self, database: Database) -> None:
        async with database.read() as reader:
            await reader.execute(text("SET LOCAL statement_timeout = '50ms'"))
            with pytest.raises(DatabaseUnavailable, match="took too long"):
                await reader.execute(text("SELECT pg_sleep(30)"))

    async def test_a_nul_character_is_refused_for_good(self, database: Database) -> None:
        with pytest.raises(Unstorable, match="NUL"):
            async with database.transaction() as tx:
                await tx.fresh("one", ["a\x00b"])

    async def test_a_wrong_statement_is_no_complaint(self, database: Database) -> None:
        with pytest.raises(Exception, match="syntax error") as wrong:
            async with database.read() as reader:
                await reader.execute(text("SELEC 1"))
        assert not isinstance(wrong.value, DatabaseUnavailable | Unstorable)


class TestNotify:
    async def test_another_process_wakes_the_relay_without_a_poll(
        self, database: Database, postgres_url: str
    ) -> None:
        said = Said()
        async with (
            open_postgres(postgres_url, service="vms", clock=SystemClock()) as other,
            running(Relay(database, said, owner="a", clock=database.clock, poll_s=3600)),
        ):
            await until_listening(database)
            for number in range(3):
                await say(other, [number])
                await emptied(other)
        assert said.ids == ["e-0", "e-1", "e-2"]

    async def test_ears_that_are_cut_off_come_back(
        self, database: Database, postgres_url: str
    ) -> None:
        said = Said()
        async with (
            open_postgres(postgres_url, service="vms", clock=SystemClock()) as other,
            running(Relay(database, said, owner="a", clock=database.clock, poll_s=3600)),
        ):
            for number in range(2):
                gone = await until_listening(database)
                async with other.transaction() as tx:
                    await tx.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": gone})
                await until_listening(database, other_than=gone)
                await say(other, [number])
                await emptied(other)
        assert said.ids == ["e-0", "e-1"]

    async def test_ears_ask_whether_the_server_is_there(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ears, "ALIVE_S", 0.02)
        async with database.listening():
            await until_asked(database)
            database.outbox_filled.clear()
            await say(database, [1])
            async with asyncio.timeout(30):
                await database.outbox_filled.wait()

    async def test_a_relay_ends_while_the_server_is_away(
        self, own_postgres_server: PostgresServer
    ) -> None:
        url = own_postgres_server.url(own_postgres_server.new_database())
        async with open_postgres(url, service="vms", clock=SystemClock()) as database:
            relay = asyncio.create_task(
                Relay(database, Said(), owner="a", clock=database.clock, poll_s=3600).run()
            )
            await until_listening(database)
            own_postgres_server.kill()
            relay.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([relay])
            assert relay.cancelled()


class TestConnections:
    async def test_no_dead_one_is_served(self, database: Database) -> None:
        async def use() -> None:
            async with database.transaction() as tx:
                await tx.execute(text("SELECT 1"))
            async with database.read() as reader:
                await reader.execute(text("SELECT 1"))

        await asyncio.gather(*(use() for _ in range(6)))
        async with database.transaction() as tx:
            await tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await asyncio.sleep(0.2)  # the sockets' ends arrive
        await asyncio.gather(*(use() for _ in range(6)))

    async def test_the_cancelled_leave_nothing_to_the_next(self, database: Database) -> None:
        chance = random.Random(7)

        async def ask(nonce: int) -> bool:
            async with database.read() as reader:
                answer = await reader.execute(
                    text("SELECT CAST(:nonce AS bigint), pg_sleep(0.002)"), {"nonce": nonce}
                )
                return bool(answer.scalar_one() == nonce)

        async def give_up(nonce: int) -> bool:
            asked = asyncio.create_task(ask(nonce))
            await asyncio.sleep(chance.uniform(0, 0.02))
            asked.cancel()
            answer = await asyncio.gather(asked, return_exceptions=True)
            return answer[0] is True or isinstance(answer[0], asyncio.CancelledError)

        answers = await asyncio.gather(
            *((give_up if chance.random() < 0.3 else ask)(nonce) for nonce in range(300))
        )
        assert all(answers)
        assert (await database.check()).status == "healthy"
        async with database.transaction() as tx:
            left = await tx.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND state LIKE '%in transaction%'"
                )
            )
            assert left.scalar_one() == 0


def event(id: str, key: str = "one") -> Envelope:
    return msgspec.structs.replace(status(0), id=id, key=key)


async def say_one(database: Database, id: str) -> None:
    async with database.transaction() as tx:
        await tx.add([event(id)])


async def until_waiting(database: Database) -> None:
    """Until some transaction waits for an advisory lock."""
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    for _ in range(1000):
        async with database.read() as reader:
            if (await reader.execute(waits)).scalar_one():
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def until_asked(database: Database) -> None:
    """Until a connection that is in no transaction has asked whether the server is there."""
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle' AND query = 'SELECT 1'"
    )
    for _ in range(2000):
        async with database.read() as reader:
            if (await reader.execute(asked)).scalar_one():
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody asked")


async def until_listening(database: Database, *, other_than: int = 0) -> int:
    """Until somebody listens; the process id of that backend."""
    ears_sql = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE 'LISTEN%' AND pid <> :gone"
    )
    for _ in range(2000):
        async with database.read() as reader:
            pid = (await reader.execute(ears_sql, {"gone": other_than})).scalar_one_or_none()
        if pid is not None:
            return int(pid)
        await asyncio.sleep(0.01)
    raise AssertionError("nobody listens")
