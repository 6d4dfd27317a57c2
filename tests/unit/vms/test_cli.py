"""`vantage camera`: the same API, from a terminal."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.main import app
from services.vms.cli import address, first_rule
from services.vms.shapes import line, polygon
from shared.errors import Invalid
from shared.rules.document import load

RUNNER = CliRunner()
YARD = "yard=0,0.5;1,0.5;1,1;0,1"


def vantage(data_dir: Path, *arguments: str, answers: str = "") -> Result:
    environment = {"VANTAGE_DATA_DIR": str(data_dir), "VANTAGE_CAMERA_NETS": "127.0.0.0/8"}
    return RUNNER.invoke(app, ["camera", *arguments], env=environment, input=answers)


def test_a_camera_comes_and_goes(data_dir: Path) -> None:
    added = vantage(
        data_dir, "add", "Front Door", "rtsp://127.0.0.10/door", "--no-test", "--no-rule",
        "--zone", YARD, "--line", "gate=0.1,0.5;0.9,0.5", "--mask", "window=0,0;0.1,0;0.1,0.1",
        "--classes", "person, car", "--threshold", "0.5", "--rate", "3", "--every-frame",
        "--login", "admin", answers="c4n4ry\n",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    assert "front-door is added" in added.output
    shown = json.loads(vantage(data_dir, "show", "front door").output)
    assert shown["detect"]["classes"] == ["person", "car"]
    assert (shown["detect"]["rate"], shown["detect"]["every_frame"]) == (3.0, True)
    assert [shown[kind][0]["name"] for kind in ("zones", "lines", "masks")] == [
        "yard",
        "gate",
        "window",
    ]
    assert shown["has_credentials"] is True
    listed = vantage(data_dir, "list")
    assert "front-door" in listed.output
    assert "c4n4ry" not in added.output + listed.output
    assert vantage(data_dir, "remove", "front-door").exit_code == 0
    gone = vantage(data_dir, "show", "front-door")
    assert gone.exit_code == 1
    assert "there are: none yet" in gone.output


def test_it_is_looked_at_first(data_dir: Path) -> None:
    seen = vantage(data_dir, "add", "Sim", "sim://demo?duration=20", "--no-rule")
    assert seen.exit_code == 0, seen.output
    assert "640x360" in seen.output
    unseen = vantage(data_dir, "add", "Bad", "sim://demo?nothing=1", "--no-rule")
    assert unseen.exit_code == 1
    assert "no picture" in unseen.output
    assert "Bad" not in vantage(data_dir, "list").output
    assert "640x360" in vantage(data_dir, "test", "Sim").output


def test_its_first_rule_is_made(data_dir: Path) -> None:
    added = vantage(data_dir, "add", "Yard", "sim://demo", "--no-test")
    assert added.exit_code == 0, added.output
    assert 'Rule yard-enters is added: "Person enters" (picture).' in added.output
    vantage(data_dir, "remove", "yard")
    again = vantage(data_dir, "add", "Yard", "sim://demo", "--no-test")
    assert "Rule yard-enters is there already." in again.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--zone", "yard"], "it has no name"),
        (["--zone", "=0,0;1,0;1,1"], "it has no name"),
        (["--zone", "yard=0,0;1,1"], "three points"),
        (["--zone", "yard=0,0;1,x;1,1"], "no number"),
        (["--mask", "yard=0,0;1;1,1"], "x,y"),
        (["--line", "gate=0,0;1,1;1,0"], "two points"),
        (["--model", "nothing.onnx"], "no file"),
    ],
)
def test_what_cannot_be_read_is_said(data_dir: Path, arguments: list[str], says: str) -> None:
    result = vantage(data_dir, "add", "Door", "sim://demo", "--no-test", "--no-rule", *arguments)
    assert result.exit_code == 1
    assert says in result.output


def test_shapes_are_read() -> None:
    assert polygon("a=0,0; 1,0;1,1", "") == {"name": "a", "points": [[0, 0], [1, 0], [1, 1]]}
    assert line("a=0,.5;1,.5", "") == {"name": "a", "a": [0.0, 0.5], "b": [1.0, 0.5]}


def test_a_path_is_the_url_that_reads_it(tmp_path: Path) -> None:
    film = tmp_path / "a film.mp4"
    film.write_bytes(b"")
    assert address(str(film)) == f"file://{tmp_path}/a%20film.mp4"
    assert address(str(tmp_path)) == f"images://{tmp_path}"
    assert address("rtsp://cam/a") == "rtsp://cam/a"
    with pytest.raises(Invalid, match="no URL and no file"):
        address(str(tmp_path / "nothing"))


@pytest.mark.parametrize("zones", [[], [{"name": "yard"}, {"name": "gate"}]])
def test_the_first_rule_is_a_rule(zones: list[dict[str, str]]) -> None:
    camera = {"id": "door", "zones": zones, "detect": {"classes": ["person", "car"]}}
    rule = load(first_rule(camera))
    assert rule.covers("door")
    assert not rule.covers("yard")
    assert rule.title == "Person or car enters"
