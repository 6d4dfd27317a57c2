"""Room on the disk of the data folder: said before it is gone, since what is full takes no event."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from shared.service import Health

if TYPE_CHECKING:
    from pathlib import Path

NEARLY_FULL = 0.9  # so much of it is used
LEAST_FREE = 2**20  # bytes; with less a database cannot even extend its journal


class Disk:
    """The disk under a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def check(self) -> Health:
        """Whether there is room; for `/health`."""
        usage = await asyncio.to_thread(shutil.disk_usage, self._folder)
        taken = 1 - usage.free / usage.total if usage.total else 1.0
        details = {"free_bytes": usage.free, "used": round(taken, 3)}
        where = f"the disk of {self._folder} is {{}}; free some space there or set VANTAGE_DISK_BUDGET lower"
        if usage.free < LEAST_FREE:
            return Health(status="unhealthy", reason=where.format("full"), details=details)
        if taken >= NEARLY_FULL:
            used = f"{taken:.0%} full"
            return Health(status="degraded", reason=where.format(used), details=details)
        return Health(status="healthy", details=details)
