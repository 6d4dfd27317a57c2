"""What the tests of the stores share."""

import gc
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """redis-py leaves connections that are cut off in the making to the garbage collector: here, not in another test."""
    yield
    heard = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = heard
