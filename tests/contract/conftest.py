"""The adapters of the log, each opened the way `shared/platform.py` does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from schemas.event import Topic
from shared.bus.kafka import open_kafka
from shared.bus.memory import open_memory
from shared.bus.port import Log
from shared.bus.sqlite import open_sqlite
from tests.contract.bus import SESSION, OpenLog

if TYPE_CHECKING:
    from tests.engines.kafka import KafkaBroker

ADAPTERS = ["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)]


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

    if request.param != "kafka":
        return {"memory": memory, "sqlite": sqlite}[request.param]
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")

    @asynccontextmanager
    async def kafka(topics: Sequence[Topic]) -> AsyncIterator[Log]:
        async with open_kafka(broker.url, topics, session=SESSION) as log:
            yield log

    return kafka
