"""LISTEN on a connection of its own: hears every commit that filled the outbox, and comes back when it is cut off."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg
import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.db.postgres.address import Address

ALIVE_S = 15.0  # how often the server is asked whether it is still there
RETRY_S = 10.0
_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_log = structlog.get_logger()


@asynccontextmanager
async def listening(
    address: Address, schema: str, channel: str, filled: asyncio.Event
) -> AsyncIterator[None]:
    """Set `filled` at each notification on `channel`. While the server is away nothing is heard; polls go on."""
    ears = asyncio.create_task(_listen(address, schema, channel, filled))
    try:
        yield
    finally:
        ears.cancel()
        with suppress(asyncio.CancelledError):
            await ears


async def _listen(address: Address, schema: str, channel: str, filled: asyncio.Event) -> None:
    failures = 0
    while True:
        try:
            connection = await address.connect(schema)
        except _AWAY as error:
            failures += 1
            _log.debug("listener_away", schema=schema, reason=str(error))
            await asyncio.sleep(random.uniform(0.05, min(RETRY_S, 0.1 * 2.0**failures)))  # noqa: S311 - spreads retries
            continue
        failures = 0
        try:
            await _hear(connection, channel, filled)
        except _AWAY as error:
            _log.info("listener_lost", schema=schema, reason=str(error))
        finally:
            connection.terminate()


async def _hear(connection: asyncpg.Connection, channel: str, filled: asyncio.Event) -> None:
    """Until the connection is gone. A server that vanished without a word is found by asking."""
    gone = asyncio.Event()
    connection.add_termination_listener(lambda _connection: gone.set())
    await connection.add_listener(channel, lambda *_notification: filled.set())
    filled.set()  # what came while nobody listened
    while not gone.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_S):
                await gone.wait()
        if not gone.is_set():
            await connection.execute("SELECT 1")
