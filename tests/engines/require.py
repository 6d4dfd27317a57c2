"""Skip with the reason, or fail where the machine promised to have it."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from tests.engines import folders


def require_engine(lacking: str) -> None:
    """Skip with what this machine lacks to run an engine, or fail under VANTAGE_REQUIRE_ENGINES=1; empty: nothing."""
    if lacking:
        _missing(lacking, required="VANTAGE_REQUIRE_ENGINES")


def missing_engine(reason: str) -> NoReturn:
    """An engine is not there: skip, or fail under VANTAGE_REQUIRE_ENGINES=1."""
    _missing(f"{reason}; `make engines` gets it", required="VANTAGE_REQUIRE_ENGINES")


def missing_right(reason: str) -> NoReturn:
    """This user may not do what a test needs: skip, or fail under VANTAGE_REQUIRE_ENGINES=1."""
    _missing(reason, required="VANTAGE_REQUIRE_ENGINES")


def require_data(*parts: str) -> Path:
    """The path of a file or folder of the test data, e.g. `require_data("media", "cars.mp4")`.

    Skips when it is not there, or fails under VANTAGE_REQUIRE_DATA=1.
    """
    path = folders.data().joinpath(*parts)
    if not path.exists():
        _missing(
            f"test data {Path(*parts)} is not at hand; VANTAGE_TEST_DATA names its folder",
            required="VANTAGE_REQUIRE_DATA",
        )
    return path


def _missing(reason: str, *, required: str) -> NoReturn:
    if os.environ.get(required) == "1":
        pytest.fail(f"{reason} ({required}=1)")
    pytest.skip(reason)
