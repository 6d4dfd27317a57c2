"""The engines that a house brings along, each by itself: made, started, ended, and started again on its data."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.engines.children import Child, LogFile, Order
from services.engines.places import Place, open_place
from services.engines.port import Engine
from services.engines.postgres import Postgres
from services.engines.redis import Redis
from tests.engines.require import require_engine


@asynccontextmanager
async def running(engine: Engine, folder: Path) -> AsyncIterator[Place]:
    require_engine(engine.missing())
    place, _ = await asyncio.to_thread(open_place, folder / engine.name)
    await asyncio.to_thread(engine.prepare, place)
    order = Order(
        name=engine.name,
        command=engine.command(place),
        environment=os.environ,
        ready=engine.ready,
        aloud=False,
        ends_by=engine.ends_by,
        dies_by=engine.dies_by,
    )
    child = Child(order, LogFile(folder / f"{engine.name}.log"), place.remember)
    task = asyncio.create_task(child.run())
    try:
        async with asyncio.timeout(60):
            await child.ready.wait()
        yield place
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.postgres
async def test_postgres_keeps_what_it_was_told_and_lets_nobody_in_without_its_word(
    tmp_path: Path,
) -> None:
    engine = Postgres()
    async with running(engine, tmp_path) as place:
        url = engine.url(place).replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (7)")
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.replace(place.password(), "guessed"))
    async with running(engine, tmp_path) as again:
        assert again.port == place.port
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT n FROM kept") == 7
        await connection.close()


async def test_redis_keeps_what_it_was_told_and_lets_nobody_in_without_its_word(
    tmp_path: Path,
) -> None:
    engine = Redis()
    folder = tmp_path / "a house"  # with a space, as people name folders
    folder.mkdir()
    async with running(engine, folder) as place:
        url = urlsplit(engine.url(place))
        assert (await told(place, "GET kept"))[0].startswith("-NOAUTH")
        assert await told(place, f"AUTH {url.password}", "SET kept 7") == ["+OK", "+OK"]
    async with running(engine, folder) as again:
        assert again.port == url.port
        assert await told(again, f"AUTH {url.password}", "GET kept") == ["+OK", "$1"]


async def told(place: Place, *commands: str) -> list[str]:
    """The first line of each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    answers = []
    for command in commands:
        writer.write(f"{command}\r\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers
