"""The adapters of the log, each opened the way `shared/platform.py` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.event import Topic
from shared.bus.memory import open_memory
from shared.bus.port import Log
from shared.bus.sqlite import open_sqlite
from tests.contract.bus import SESSION, OpenLog

ADAPTERS = ["memory", "sqlite"]


@pytest.fixture(params=ADAPTERS)
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens the log under test for the given topics."""

    @asynccontextmanager
    async def memory(topics: Sequence[Topic]) -> AsyncIterator[Log]:
        async with open_memory(topics, session=SESSION) as log:
            yield log

    @asynccontextmanager
    async def sqlite(topics: Sequence[Topic]) -> AsyncIterator[Log]:
        async with open_sqlite(tmp_path / "log", topics, session=SESSION) as log:
            yield log

    return {"memory": memory, "sqlite": sqlite}[request.param]
