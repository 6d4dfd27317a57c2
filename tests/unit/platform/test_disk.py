"""Room on the disk is told before it is gone."""

import shutil
from pathlib import Path

import pytest

from shared.runtime.disk import Disk

GB = 10**9


@pytest.mark.parametrize(
    ("free", "status", "says"),
    [
        (500 * GB, "healthy", ""),
        (100 * GB, "degraded", "90% full; free some space there or set VANTAGE_DISK_BUDGET"),
        (1000, "unhealthy", "is full"),
        (0, "unhealthy", "is full"),
    ],
)
async def test_a_disk_says_how_full_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str, says: str
) -> None:
    usage = shutil._ntuple_diskusage(1000 * GB, 1000 * GB - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = await Disk(tmp_path).check()
    assert found.status == status
    assert says in found.reason
    assert found.details["free_bytes"] == free
