"""The adapters of the log, each opened the way `shared/platform.py` does."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.bus.kafka import open_kafka
from shared.bus.memory import open_memory
from shared.bus.sqlite import open_sqlite
from tests.contract.bus import OpenLog

if TYPE_CHECKING:
    from tests.engines.kafka import KafkaBroker

ADAPTERS = ["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=ADAPTERS)
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens the log under test for the given topics."""
    if request.param == "memory":
        return OpenLog(1.0, lambda topics, session: open_memory(topics, session=session))
    if request.param == "sqlite":
        folder = tmp_path / "log"
        return OpenLog(1.0, lambda topics, session: open_sqlite(folder, topics, session=session))
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")
    return OpenLog(6.0, lambda topics, session: open_kafka(broker.url, topics, session=session))
