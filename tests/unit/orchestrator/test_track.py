"""`vantage track`: detections in, tracks out, and what it says to bad input."""

from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.main import app
from services.orchestrator.track import track
from shared.vision import mot
from shared.vision.mot import Row


def walk(frames: int, *, missing: tuple[int, ...] = (), score: float = 0.9) -> list[Row]:
    """A person who walks to the right, 12 pixels a frame."""
    return [
        Row(frame, -1, (100.0 + 12.0 * frame, 200.0, 40.0, 100.0), score)
        for frame in range(1, frames + 1)
        if frame not in missing
    ]


def test_a_walker_is_one_track_with_the_frames_of_the_file(tmp_path: Path) -> None:
    source, out = tmp_path / "det.txt", tmp_path / "tracks.txt"
    source.write_text(mot.write(walk(20, missing=(9, 10))))
    result = CliRunner().invoke(app, ["track", str(source), "--out", str(out), "--fps", "10"])
    assert result.exit_code == 0, result.output
    rows = mot.parse(out.read_text(), name="tracks.txt")
    assert [row.frame for row in rows] == [*range(3, 9), *range(11, 21)]
    assert {row.id for row in rows} == {1}
    assert rows[-1].box == pytest.approx((340.0, 200.0, 40.0, 100.0), abs=4)
    assert "1 tracks in 16 rows" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["det.txt", "tracks.txt"]


def test_the_frame_rate_decides_how_long_an_absence_is() -> None:
    rows = [row for row in walk(60) if not 20 <= row.frame < 40]
    still = [Row(row.frame, -1, (100.0, 200.0, 40.0, 100.0), 0.9) for row in rows]
    assert {row.id for row in track(still, Fraction(25))} == {1}
    assert {row.id for row in track(still, Fraction(5))} == {1, 2}


def test_an_empty_file_gives_no_tracks(tmp_path: Path) -> None:
    source, out = tmp_path / "det.txt", tmp_path / "tracks.txt"
    source.write_text("")
    assert CliRunner().invoke(app, ["track", str(source), "--out", str(out)]).exit_code == 0
    assert out.read_text() == ""


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1,-1,1,1,5,5\n", (), "det.txt line 1: 6 columns"),
        ("1,-1,1,1,5,5,38.5\n", (), "frame 1 has the confidence 38.5; the tracker needs 0 to 1"),
        ("99999999,-1,1,1,5,5,1\n", (), "frame 99999999 is beyond"),
        ("1,-1,1,1,5,5,1\n", ("--fps", "0"), "fps: '0' is no frame rate"),
        ("1,-1,1,1,5,5,1\n", ("--fps", "1e9"), "too fast; give at most 1000"),
        ("\x00\x01\x02\xff", (), "1 columns"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    tmp_path: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    source, out = tmp_path / "det.txt", tmp_path / "tracks.txt"
    source.write_text(text)
    result = CliRunner().invoke(app, ["track", str(source), "--out", str(out), *options])
    assert result.exit_code == 1
    assert message in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["det.txt"]


def test_places_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    run = CliRunner().invoke
    out = str(tmp_path / "tracks.txt")
    assert "is no file" in run(app, ["track", str(tmp_path), "--out", out]).output
    source = tmp_path / "det.txt"
    source.write_text(mot.write(walk(5)))
    answer = run(app, ["track", str(source), "--out", str(tmp_path / "nowhere" / "tracks.txt")])
    assert answer.exit_code == 1
    assert "name a file in a folder that exists" in answer.output
