"""`vantage` commands of the tests, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def begin(*words: str, folder: Path) -> "subprocess.Popen[str]":
    """Start `vantage` with these words on a data folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.main", *words],
        env={**os.environ, "VANTAGE_DATA_DIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit status and what it wrote to standard error."""
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors
