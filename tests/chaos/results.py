"""What the fault tests found, as a table: a pytest plugin that is asleep unless VANTAGE_RELIABILITY names a file.

`make chaos` and `make soak` set it to docs/reliability.md. The lines of the rows that were run are written anew after each
test, so that a run that is ended early leaves what it found; the other lines stay as the run before left them. A test may
give figures, `record_property("takeover_s", 3.2)`, of which the worst is shown, and tells by `FAULTS` how often it did harm.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos import turns
from tests.chaos.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Collection

BEGIN, END = "<!-- results: written by `make chaos` -->", "<!-- end of results -->"
KEY = "fault_row"
SHOWN = 4000  # characters of a failure
HEAD = (
    "| row | injected | expected beside lost 0, twice 0, phantom 0 | runs | passed | faults | worst | run on |"
    " not proven |",
    "|---|---|---|---|---|---|---|---|---|",
)


def pytest_configure(config: pytest.Config) -> None:
    """Wake up where a file is named, in the process that sees all results."""
    named = os.environ.get("VANTAGE_RELIABILITY")
    if named and not hasattr(config, "workerinput"):
        config.pluginmanager.register(
            Results(Path(named), turns.wanted_rows(config) or set(ROWS)), "vantage-reliability"
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test's rows go along with its result, from whichever process it ran in."""
    for name in turns.rows(item):
        if name not in ROWS:
            raise pytest.UsageError(f"{item.nodeid}: there is no row {name!r} in ROWS")
        item.user_properties.append((KEY, name))


class Results:
    """Counts runs and faults of these rows and keeps the table."""

    def __init__(self, file: Path, rows: Collection[str]) -> None:
        self._file = file
        self._rows = rows
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._faults: Counter[str] = Counter()
        self._figures: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one result in."""
        if report.skipped or (report.when != "call" and report.passed):
            return
        named = [str(value) for name, value in report.user_properties if name == KEY]
        rows = [row for row in named if row in self._rows]  # of another only some tests were run
        found = {k: float(v) for k, v in report.user_properties if isinstance(v, int | float)}
        faults = int(found.pop(turns.FAULTS, 1))
        for row in rows:
            self._outcomes[row][report.outcome] += 1
            self._faults[row] += faults
            figures = self._figures[row]
            figures.update({k: max(v, figures.get(k, v)) for k, v in found.items()})
        if rows:
            self._write()
        if report.failed:  # the run may have hours to go
            sys.stderr.write(f"\n{report.nodeid}\n{report.longreprtext[-SHOWN:]}\n")

    def _write(self) -> None:
        before, _, rest = self._file.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        kept = {line.split("|")[1].strip(): line for line in table.splitlines() if "|" in line}
        lines = [self._line(name) if name in self._outcomes else kept.get(name) for name in ROWS]
        text = "\n".join([*HEAD, *(line for line in lines if line is not None)])
        self._file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")

    def _line(self, name: str) -> str:
        row, outcomes = ROWS[name], self._outcomes[name]
        figures = ", ".join(f"{key} {value:g}" for key, value in self._figures[name].items())
        today = datetime.datetime.now(datetime.UTC).date()
        where = f"{today}, {os.cpu_count()} cores, {platform.system()}"
        return (
            f"| {name} | {row.injected} | {row.expected} | {outcomes.total()} | {outcomes['passed']} |"
            f" {self._faults[name]} | {figures} | {where} | {row.open} |"
        )
