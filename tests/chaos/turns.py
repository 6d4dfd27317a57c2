"""How often a fault is injected, and which rows are run: a pytest plugin for `make chaos`.

`VANTAGE_CHAOS_REPEAT=20` runs every test of a row 20 times. A test that repeats its fault by itself, against one system
that lives on, says so (`row("R4", inside=True)`), takes the number from `TIMES` and tells how many faults it made
(`record_property(FAULTS, n)`). `--rows R4,R6` leaves the other rows out.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.rows import ROWS

REPEAT = int(os.environ.get("VANTAGE_CHAOS_REPEAT", "0"))  # 0: not `make chaos`
TIMES = REPEAT or 3  # for who repeats inside
TURN = "turn_of_the_row"
FAULTS = "faults"  # the property by which a test tells how many it made; without it, one


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rows`."""
    parser.addoption("--rows", default="", help="run these rows of the fault plan: R4,R6")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a row as often as is asked for."""
    marks = list(metafunc.definition.iter_markers("row"))
    if REPEAT > 1 and marks and not any(mark.kwargs.get("inside") for mark in marks):
        metafunc.fixturenames.append(TURN)
        metafunc.parametrize(TURN, range(REPEAT), ids=lambda turn: f"turn{turn}")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """What is drawn anew in each turn, and again the same where a turn is run again alone."""
    return random.Random(request.node.nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for."""
    wanted = wanted_rows(config)
    if unknown := wanted - set(ROWS):
        raise pytest.UsageError(f"--rows: there is no {', '.join(sorted(unknown))} in ROWS")
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if not rows(item) & wanted])
        items[:] = [item for item in items if rows(item) & wanted]


def wanted_rows(config: pytest.Config) -> set[str]:
    """What `--rows` names; empty: all."""
    return {name for name in config.getoption("--rows").split(",") if name}


def rows(item: pytest.Item) -> set[str]:
    """The rows a test belongs to."""
    return {name for mark in item.iter_markers("row") for name in mark.args}
