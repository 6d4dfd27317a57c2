"""`vantage rule`: the same API, from a terminal, without a server."""

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from services.main import app
from tests.unit.orchestrator.happenings import enters

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]
TESTS = [{"dwell": "300ms", "fires": False}, {"dwell": "1s", "fires": True}]


def vantage(folder: Path, *arguments: str) -> Result:
    environment = {"VANTAGE_DATA_DIR": str(folder / "data")}
    return CliRunner().invoke(app, ["rule", *arguments], env=environment)


def written(folder: Path, *documents: dict[str, Any]) -> str:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(list(documents)))
    return str(file)


def test_a_rule_comes_changes_and_goes(tmp_path: Path) -> None:
    document = enters(defs={"zones": {"door": SQUARE}}, tests=TESTS)
    added = vantage(tmp_path, "add", written(tmp_path, document))
    assert added.exit_code == 0, added.output
    assert "enters: revision 1" in added.output
    assert "warning" not in added.output
    changed = written(tmp_path, {**document, "level": "low"})
    assert "enters: revision 2" in vantage(tmp_path, "add", changed).output
    listed = vantage(tmp_path, "list").output
    assert "listed and not delivered" in " ".join(listed.split())
    shown = vantage(tmp_path, "show", "enters").output
    assert yaml.safe_load(shown) == {**document, "level": "low"}
    assert "# revision 1, version 1.0.0" in shown
    tested = vantage(tmp_path, "test", "enters")
    assert (tested.exit_code, tested.output.count("passed")) == (0, 2)
    assert vantage(tmp_path, "remove", "enters").exit_code == 0
    gone = vantage(tmp_path, "remove", "enters")
    assert gone.exit_code == 1
    assert "there is no rule 'enters'" in gone.output


def test_lint_and_test_say_what_is_wrong_and_fail(tmp_path: Path) -> None:
    wrong = written(tmp_path, enters(colour="red"), {"id": "later", "match": {"seq": {}}})
    linted = vantage(tmp_path, "lint", wrong)
    assert linted.exit_code == 1
    assert "$.colour: there is no such field (got 'red')" in linted.output
    assert "`seq` is not supported yet" in linted.output
    failing = enters(defs={"zones": {"door": SQUARE}}, tests=[{"dwell": "300ms", "fires": True}])
    file = written(tmp_path, failing)
    tested = vantage(tmp_path, "test", file)
    assert (tested.exit_code, "test 1: failed" in tested.output) == (1, True)
    refused = vantage(tmp_path, "add", file)
    assert refused.exit_code == 1
    assert "does not fire in this test" in refused.output
    assert vantage(tmp_path, "lint", str(tmp_path)).exit_code == 1


def test_a_rule_over_several_cameras_from_a_terminal(tmp_path: Path) -> None:
    crossed = {"enter": {"camera": "gate", "zone": "door", "within": "30s"}}
    stood = {"dwell": {"camera": "dock", "zone": "door", "min": "5s"}}
    scenes = [{"camera": "gate", "dwell": "1s"}, {"camera": "dock", "dwell": "6s", "after": "2s"}]
    document = {
        "id": "both",
        "match": {"all": [crossed, stood]},
        "defs": {"zones": {"door": SQUARE}},
        "tests": [
            {"scenes": scenes, "fires": True},
            {"camera": "dock", "dwell": "6s", "fires": False},
        ],
    }
    file = written(tmp_path, document)
    linted = vantage(tmp_path, "lint", file)
    assert (linted.exit_code, "both: ok" in linted.output) == (0, True)
    tested = vantage(tmp_path, "test", file)
    assert (tested.exit_code, tested.output.count("passed")) == (0, 2)
    assert "both: revision 1" in vantage(tmp_path, "add", file).output
    listed = " ".join(vantage(tmp_path, "list").output.split())
    assert "both" in listed
    assert "dock" in listed
    wrong = written(tmp_path, {**document, "tests": [{"scenes": scenes, "fires": False}]})
    refused = vantage(tmp_path, "add", wrong)
    assert (refused.exit_code, "the rule fires in this test" in refused.output) == (1, True)
