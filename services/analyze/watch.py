"""How long each stage takes."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Watch:
    """Seconds by stage, and since the beginning."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.spent: defaultdict[str, float] = defaultdict(float)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begun

    def of(self, stage: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call, and count the time for the stage."""
        begun = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            self.spent[stage] += time.perf_counter() - begun
