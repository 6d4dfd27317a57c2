"""`vantage rule replay`: what it reads, what it writes, and how it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from services.orchestrator.cli import app, parse_rate, parse_size, parse_start
from services.orchestrator.documents import read_documents
from shared.errors import Invalid, VantageError

DEFS = {
    "zones": {"door": [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]},
    "lines": {"gate": [[0.5, 0.0], [0.5, 1.0]]},
}
RULES: list[dict[str, Any]] = [
    {"id": "enter", "level": "high", "match": {"enter": {"class": "person", "zone": "door"}}},
    {"id": "cross", "match": {"cross": {"class": "person", "line": "gate", "dir": "R2L"}},
     "scope": {"cameras": ["elsewhere"]}},
    {"id": "cars", "match": {"enter": {"class": "car", "zone": "door"}}},
]  # fmt: skip


def walk(track: int = 7, frames: int = 20) -> str:
    """From the left edge to the right at 4 % of a 100x100 frame each frame, feet at y = 50."""
    rows = [f"{n},{track},{n * 4 - 2},40,4,10,1,-1,-1,-1" for n in range(1, frames + 1)]
    return "\n".join(rows) + "\n"


def replayed(folder: Path, tracks: str, rules: Any = None, *more: str) -> list[dict[str, Any]]:
    (folder / "tracks.txt").write_text(tracks)
    documents = [{**rule, "defs": DEFS} for rule in RULES] if rules is None else rules
    (folder / "rules.yaml").write_text(yaml.safe_dump(documents))
    arguments = [
        "replay",
        "--tracks",
        str(folder / "tracks.txt"),
        "--size",
        "100x100",
        "--fps",
        "10",
    ]
    arguments += ["--rules", str(folder / "rules.yaml"), "--out", str(folder / "out.jsonl"), *more]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_lines_say_what_the_issue_promises(tmp_path: Path) -> None:
    enter, cross = replayed(tmp_path, walk())
    assert enter == {
        "id": enter["id"],
        "rule": "enter",
        "severity": "high",
        "camera": "source",
        "tracks": ["7"],
        "zone": "door",
        "matched_at": 0.8,  # inside from frame 5 (0.4 s) on, confirmed 0.4 s later
        "margin": pytest.approx(0.2667, abs=1e-3),
    }
    assert (cross["line"], cross["matched_at"]) == ("gate", 1.2)
    assert "zone" not in cross


def test_the_start_moves_schedules_not_seconds(tmp_path: Path) -> None:
    night = {"schedule": {"tz": "site", "between": ["22:00", "06:00"]}}
    rule = {"id": "night", "match": {"all": [night, RULES[0]["match"]]}, "defs": DEFS}
    day = replayed(tmp_path, walk(), [rule], "--start", "2026-06-01T12:00:00Z")
    assert day == []
    (dark,) = replayed(
        tmp_path, walk(), [rule], "--start", "2026-06-01T20:30:00Z", "--time-zone", "Europe/Berlin"
    )
    assert dark["matched_at"] == 0.8


def test_no_tracks_no_incidents(tmp_path: Path) -> None:
    assert replayed(tmp_path, "") == []


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ([{"id": "r", "match": {"enter": {"zone": "roof"}}}], "no such zone"),
        (
            [{"id": "r", "match": {"enter": {"zone": "door"}}, "defs": DEFS, "x": 1}],
            r"rule 1: \$\.x",
        ),
        ([{**RULES[0], "defs": DEFS}] * 2, "stands twice"),
        ("text", "holds no rule"),
    ],
)
def test_rules_that_do_not_fit_are_refused(tmp_path: Path, rules: Any, error: str) -> None:
    with pytest.raises(VantageError, match=error):
        replayed(tmp_path, walk(), rules)
    assert not (tmp_path / "out.jsonl").exists()


def test_tracks_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"tracks\.txt line 1"):
        replayed(tmp_path, "1,2,3\n")


def test_nothing_half_done_is_left(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        replayed(tmp_path, walk(), None, "--out", str(tmp_path / "no" / "where.jsonl"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rules.yaml", "tracks.txt"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("a: [", "not YAML"),
        ("id: r\nid: s\n", "stands twice"),
        ("", "holds no rule"),
        ("!!python/object:os.system {}", "not YAML"),
    ],
)
def test_files_that_are_no_rules(tmp_path: Path, content: str, error: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(content)
    with pytest.raises(Invalid, match=error):
        read_documents(file)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is a folder"):
        read_documents(tmp_path)
    with pytest.raises(Invalid, match="is no file"):
        read_documents(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["", "100", "100x", "0x100", "-1x5", "axb"])
def test_sizes(text: str) -> None:
    with pytest.raises(Invalid, match="768x576"):
        parse_size(text)
    assert parse_size("640X480") == (640, 480)


@pytest.mark.parametrize("text", ["", "0", "-5", "fast", "1/0", "nan"])
def test_rates(text: str) -> None:
    with pytest.raises(Invalid, match="such as 25"):
        parse_rate(text)
    assert parse_rate("30000/1001") * 1001 == 30000


def test_starts() -> None:
    assert (
        parse_start("1970-01-01T00:00:01Z") == parse_start("1970-01-01T01:00:01+01:00") == 1_000_000
    )
    with pytest.raises(Invalid, match="write it as"):
        parse_start("yesterday")
