"""What the fault tests found, as a table: a pytest plugin that is asleep unless VANTAGE_RELIABILITY names a file.

`make chaos` sets it to docs/reliability.md; the part between the marks is written anew by each run. A test may give
figures: `record_property("takeover_s", 3.2)`; the worst of each is shown.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.chaos.rows import ROWS

BEGIN, END = "<!-- results: written by `make chaos` -->", "<!-- end of results -->"
KEY = "fault_row"


def pytest_configure(config: pytest.Config) -> None:
    """Wake up where a file is named, in the process that sees all results."""
    named = os.environ.get("VANTAGE_RELIABILITY")
    if named and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(Path(named)), "vantage-reliability")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test's rows go along with its result, from whichever process it ran in."""
    for mark in item.iter_markers("row"):
        for name in mark.args:
            if name not in ROWS:
                raise pytest.UsageError(f"{item.nodeid}: there is no row {name!r} in ROWS")
            item.user_properties.append((KEY, name))


class Results:
    """Counts runs by row and writes the table."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._figures: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one result in."""
        if report.when != "call" and report.passed:
            return
        rows = [str(value) for name, value in report.user_properties if name == KEY]
        for row in rows:
            self._outcomes[row][report.outcome] += 1
            for name, value in report.user_properties:
                if isinstance(value, int | float):
                    figures = self._figures[row]
                    figures[name] = max(figures.get(name, float(value)), float(value))

    def pytest_sessionfinish(self) -> None:
        """Write what was found, if anything was."""
        if not self._outcomes:
            return
        text = self._file.read_text()
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        self._file.write_text(f"{before}{BEGIN}\n\n{self._table()}\n{END}{after}")

    def _table(self) -> str:
        today = datetime.datetime.now(datetime.UTC).date()
        lines = [
            f"Run on {today}, {os.cpu_count()} cores, {platform.system()},"
            f" CPython {platform.python_version()}.",
            "",
            "| row | injected | expected beside lost 0, twice 0, phantom 0 | runs | passed | worst |"
            " not proven |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in ROWS.items():
            outcomes = self._outcomes.get(name)
            if outcomes is None:
                continue
            figures = ", ".join(f"{key} {value:g}" for key, value in self._figures[name].items())
            lines.append(
                f"| {name} | {row.injected} | {row.expected} | {outcomes.total()} |"
                f" {outcomes['passed']} | {figures} | {row.open} |"
            )
        return "\n".join([*lines, ""])
