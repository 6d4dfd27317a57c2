"""The table of the fault tests: what was run is written anew, what was not stays."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.chaos import turns
from tests.chaos.results import BEGIN, END, KEY, Results


def report(row: str, outcome: str, **figures: float) -> pytest.TestReport:
    properties = [(KEY, row), *figures.items()]
    found = SimpleNamespace(
        when="call",
        outcome=outcome,
        passed=outcome == "passed",
        skipped=outcome == "skipped",
        failed=outcome == "failed",
        nodeid="tests/chaos/test_x.py::test_x",
        longreprtext="assert 1 == 2",
        user_properties=properties,
    )
    return cast("pytest.TestReport", found)


def table(file: Path) -> dict[str, list[str]]:
    lines = [
        line.split("|")
        for line in file.read_text().splitlines()
        if line.startswith("| R") and "row" not in line[:6]
    ]
    return {cells[1].strip(): [cell.strip() for cell in cells] for cells in lines}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "reliability.md"
    file.write_text(f"Above.\n\n{BEGIN}\n\n{END}\n\nBelow.\n")
    return file


def test_runs_faults_and_the_worst_figure_are_shown(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(file, ["R4"])
    results.pytest_runtest_logreport(report("R4", "passed", **{turns.FAULTS: 20, "back_s": 3.5}))
    results.pytest_runtest_logreport(report("R4", "failed", back_s=7))
    results.pytest_runtest_logreport(report("R4", "skipped"))
    assert table(file)["R4"][4:8] == ["2", "1", "21", "back_s 7"]
    assert "test_x\nassert 1 == 2" in capsys.readouterr().err
    assert file.read_text().startswith("Above.\n\n")
    assert file.read_text().endswith("\n\nBelow.\n")


def test_rows_that_were_not_run_stay(file: Path) -> None:
    Results(file, ["R4"]).pytest_runtest_logreport(report("R4", "passed"))
    before = table(file)["R4"]
    later = Results(file, ["R1"])
    later.pytest_runtest_logreport(report("R1", "passed"))
    later.pytest_runtest_logreport(report("R4", "failed"))  # only some of its tests
    later.pytest_runtest_logreport(report("R1", "passed"))
    assert list(table(file)) == ["R1", "R4"]
    assert table(file)["R4"] == before
    assert table(file)["R1"][4] == "2"
    assert file.read_text().count(BEGIN) == file.read_text().count(END) == 1
