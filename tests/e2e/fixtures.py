"""What whole systems are tested with: a server, and somebody who takes its webhooks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.receiver import Receiver
from tests.e2e.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One `vantage up` on an empty data folder, ready; a test may kill and start it again."""
    with Server(tmp_path / "data") as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes every webhook of this test."""
    with Receiver() as one:
        yield one
