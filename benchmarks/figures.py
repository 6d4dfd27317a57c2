"""How measured values are summed up, and the file that they go to."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Spread(NamedTuple):
    """Of measured values, in their unit."""

    median: float
    p95: float
    worst: float


def spread(values: Sequence[float]) -> Spread:
    """Their spread; there must be one at least."""
    return Spread(statistics.median(values), percentile(values, 0.95), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them (0 to 1) does not pass: the nearest one, nothing in between."""
    return sorted(values)[round(share * (len(values) - 1))]


def write(results: dict[str, Any], file: Path | None) -> None:
    """Write them to `file` as JSON, where one was asked for."""
    if file is not None:
        file.write_text(json.dumps(results, indent=2) + "\n")
