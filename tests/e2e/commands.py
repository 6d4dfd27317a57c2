"""`vantage` commands of the tests, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def begin(
    *words: str, folder: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start `vantage` with these words on a data folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.main", *words],
        env={**os.environ, **(environment or {}), "VANTAGE_DATA_DIR": str(folder)},
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


def recomputed(
    *words: str, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[list[str], str]:
    """The incidents that `vantage replay --recompute` finds on the log, sorted, and what the command prints."""
    out = folder.parent / "again"
    command = ("replay", "--recompute", "--out", str(out), *words)
    process = begin(*command, folder=folder, environment=environment)
    try:
        printed, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    rows = [json.loads(line) for line in (out / "incidents.jsonl").read_text().splitlines()]
    opened = [row["data"]["incident"] for row in rows if row["type"] == "incident.opened.v1"]
    return sorted(opened), printed
