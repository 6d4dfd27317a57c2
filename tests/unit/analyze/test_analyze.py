"""`vantage analyze` on the simulated yard and on small films: what it writes, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from services.main import app
from shared.images import encode
from shared.sim.scene import SECOND, Scene
from shared.sim.truth import truth
from shared.vision import mot

YARD = "sim://demo?seed=7&duration=12&fps=5"
SCRIPT = ("--backend", "scripted", "--model", "sim?seed=7&duration=12")


def analyze(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The yard's rules."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(Scene(seed=7, duration_s=12).rules("yard")))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The yard's places, as rules write them."""
    scene = Scene(seed=7, duration_s=12)
    path = tmp_path / "site.yaml"
    said = {
        "site": "works",
        "time_zone": "Europe/Berlin",
        "zones": {zone.name: [list(point) for point in zone.points] for zone in scene.zones},
        "lines": {line.name: [list(line.a), list(line.b)] for line in scene.lines},
        "detect": {"rate": 5},
    }
    path.write_text(yaml.safe_dump(said))
    return path


def test_the_incidents_of_the_yard_are_those_of_its_ground_truth(
    tmp_path: Path, rules: Path, site: Path
) -> None:
    out = tmp_path / "out"
    result = analyze(YARD, *SCRIPT, "--rules", rules, "--site", site, "--out", out)
    assert result.exit_code == 0, result.output
    expected = truth(Scene(seed=7, duration_s=12))
    found = lines(out / "incidents.jsonl")
    assert sorted(one["rule"].rpartition("-")[2] for one in found) == sorted(
        one.rule for one in expected
    )
    times = zip(sorted(one["matched_at"] for one in found), expected, strict=True)
    assert all(abs(at - one.at / SECOND) < 1.0 for at, one in times)
    assert {"id", "rule", "severity", "camera", "tracks", "matched_at", "margin"} <= set(found[0])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == 60
    assert summary["incidents"] == len(expected)
    assert summary["frames_per_second"] > 0
    assert {"decode", "detect", "track_and_rules"} <= set(summary["stages"])


def test_a_rule_over_several_cameras_sees_the_one(tmp_path: Path, site: Path) -> None:
    zone = Scene(seed=7, duration_s=12).zones[0].name
    count = {"class": "person", "zone": zone, "op": ">=", "n": 1}
    entered = {"distinct": {"of": {"enter": {"zone": zone}}, "op": ">=", "n": 1, "within": "1s"}}
    documents: list[dict[str, Any]] = [
        {"id": "alone", "match": {"count": count}},
        {"id": "across", "match": {"count": {**count, "across": "cameras"}}},
        {"id": "entered", "match": entered},
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(documents))
    out = tmp_path / "out"
    result = analyze(YARD, *SCRIPT, "--rules", path, "--site", site, "--out", out)
    assert result.exit_code == 0, result.output
    found: dict[str, list[tuple[float, list[str]]]] = {"alone": [], "across": [], "entered": []}
    for line in lines(out / "incidents.jsonl"):
        found[line["rule"]].append((line["matched_at"], line["tracks"]))
    assert found["alone"]
    assert found["across"] == found["alone"]
    assert found["entered"][0] == found["alone"][0]
    elsewhere = {"id": "r", "match": {"enter": {"camera": "gate", "zone": zone}}}
    path.write_text(yaml.safe_dump([elsewhere]))
    refused = analyze(YARD, *SCRIPT, "--rules", path, "--site", site, "--out", out)
    assert (refused.exit_code, "gate" in refused.output) == (1, True)


def test_every_file_agrees_with_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert analyze(YARD, *SCRIPT, "--every-frame", "--out", out).exit_code == 0
    detections, summary = (
        lines(out / "detections.jsonl"),
        json.loads((out / "summary.json").read_text()),
    )
    tracks = mot.parse((out / "tracks.txt").read_text(), name="tracks.txt")
    assert summary["detections"] == len(detections) > 50
    assert summary["tracks"] == len({row.id for row in tracks}) > 1
    assert summary["looked"] == summary["frames"] == 60
    assert {one["class"] for one in detections} == {"person"}
    assert all(one["time"] == pytest.approx((one["frame"] - 1) / 5) for one in detections)
    seen = {(one["frame"], *(round(side) for side in one["box"])) for one in detections}
    close = [row for row in tracks if _near(row, seen)]
    assert len(close) > 0.9 * len(tracks)
    assert sorted(path.name for path in out.iterdir()) == [
        "detections.jsonl", "incidents.jsonl", "summary.json", "tracks.txt",
    ]  # fmt: skip


def _near(row: mot.Row, seen: set[tuple[int, ...]]) -> bool:
    return any(
        frame == row.frame and max(abs(a - b) for a, b in zip(row.box, box, strict=True)) < 15
        for frame, *box in seen
    )


def test_twice_is_the_same_byte_for_byte(tmp_path: Path, rules: Path, site: Path) -> None:
    for name in ("one", "two"):
        arguments = (YARD, *SCRIPT, "--rules", rules, "--site", site, "--out", tmp_path / name)
        assert analyze(*arguments).exit_code == 0
    for name in ("detections.jsonl", "tracks.txt", "incidents.jsonl"):
        one, two = (tmp_path / run / name for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size


def test_camera_epoch_and_start_stand_in_the_ids(tmp_path: Path, rules: Path, site: Path) -> None:
    base = (YARD, *SCRIPT, "--rules", rules, "--site", site)
    assert analyze(*base, "--out", tmp_path / "a").exit_code == 0
    named = ("--camera", "yard", "--epoch", "4", "--start", "2026-03-01T08:00:00Z")
    assert analyze(*base, *named, "--out", tmp_path / "b").exit_code == 0
    ours, theirs = (lines(tmp_path / run / "incidents.jsonl") for run in "ab")
    assert [one["matched_at"] for one in ours] == [one["matched_at"] for one in theirs]
    assert not {one["id"] for one in ours} & {one["id"] for one in theirs}
    assert theirs[0]["camera"] == "yard"
    assert theirs[0]["tracks"][0].startswith("yard-4-")
    assert (tmp_path / "a" / "tracks.txt").read_text() == (
        tmp_path / "b" / "tracks.txt"
    ).read_text()


def test_the_rate_of_the_site_thins_and_every_frame_does_not(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("detect: {rate: 1}")
    assert analyze(YARD, *SCRIPT, "--site", site, "--out", tmp_path / "a").exit_code == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert (summary["frames"], summary["sent"]) == (60, 12)
    frames = {one["frame"] for one in lines(tmp_path / "a" / "detections.jsonl")}
    assert frames <= set(range(1, 61, 5))


def test_a_folder_of_pictures_and_the_annotated_video(tmp_path: Path) -> None:
    folder, script = tmp_path / "pictures", tmp_path / "script.txt"
    folder.mkdir()
    for number in range(12):
        picture = np.full((121, 161, 3), 90, np.uint8)  # odd sides: a video needs even ones
        (folder / f"{number:03}.jpg").write_bytes(encode(picture))
    script.write_text("".join(f"{n},-1,{10 + 3 * n},20,30,60,1\n" for n in range(1, 13)))
    model = ("--backend", "scripted", "--model", f"{script}?fps=5")
    out = tmp_path / "out"
    result = analyze(folder, *model, "--every-frame", "--video", "--out", out)
    assert result.exit_code == 0, result.output
    with av.open(str(out / "annotated.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 12
    assert frames[0].shape == (120, 160, 3)
    assert frames[-1].std() > 10 > frames[0].std()  # a confirmed track is drawn


def test_another_size_begins_an_epoch_with_ids_of_its_own(tmp_path: Path) -> None:
    folder, script = tmp_path / "pictures", tmp_path / "script.txt"
    folder.mkdir()
    for number in range(16):
        width = 160 if number < 8 else 200
        picture = np.full((120, width, 3), 90, np.uint8)
        (folder / f"{number:03}.jpg").write_bytes(encode(picture))
    script.write_text("".join(f"{n},-1,{10 + 3 * n},20,30,60,1\n" for n in range(1, 9)))
    model = ("--backend", "scripted", "--model", f"{script}?fps=5")
    result = analyze(folder, *model, "--every-frame", "--video", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = mot.parse((tmp_path / "out" / "tracks.txt").read_text(), name="tracks.txt")
    assert [row.frame for row in rows if row.id == 1] == [3, 4, 5, 6, 7, 8]
    assert [row.frame for row in rows if row.id == 1_000_001] == [11, 12, 13, 14, 15, 16]


BROKEN: list[tuple[str, tuple[str, ...], str]] = [
    ("nothing.mp4", SCRIPT, "source: there is no file or folder"),
    ("rtsp://camera/1", SCRIPT, "source: rtsp:// is not analysed"),
    ("sim://demo?fps=0", SCRIPT, "source: "),
    (YARD, (), "give --model FILE"),
    (YARD, ("--model", "nothing.onnx"), "nothing.onnx"),
    (YARD, ("--backend", "magic"), "detector back-end 'magic' is unknown"),
    (YARD, (*SCRIPT, "--threshold", "2"), "detect.threshold"),
    (YARD, (*SCRIPT, "--camera", "Front Door"), "camera"),
    (YARD, (*SCRIPT, "--start", "yesterday"), "start: 'yesterday' is no time"),
    (YARD, (*SCRIPT, "--rules", "nothing.yaml"), "rules: "),
    (YARD, (*SCRIPT, "--site", "nothing.yaml"), "site: "),
]


@pytest.mark.parametrize(("source", "arguments", "text"), BROKEN)
def test_what_cannot_be_analysed_is_named_and_leaves_nothing(
    tmp_path: Path, source: str, arguments: tuple[str, ...], text: str
) -> None:
    out = tmp_path / "out"
    result = analyze(source, *arguments, "--out", out)
    assert result.exit_code in (1, 2)
    assert result.output.startswith("Error: ")
    assert text in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty (0 bytes)"),
        (b"this is no video at all" * 100, "cannot be read as video"),
    ],
)
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(content)
    result = analyze(film, *SCRIPT, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert text in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("- a list", "holds no fields; use site, time_zone"),
        ("zoness: {}", "there is no field 'zoness'"),
        ("zones: {a: [[0, 0], [1, 1], [1, 0], [0, 1]]}", "crosses or touches itself"),
        ("zones: {a: [[0, 0], [2, 0], [1, 1]]}", "leaves the frame"),
        ("time_zone: Mars/Olympus", "Mars/Olympus"),
        ("detect: {speed: 3}", "detect has no field 'speed'"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_site_file_is_named(tmp_path: Path, said: str, text: str) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(said)
    result = analyze(YARD, *SCRIPT, "--site", site, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert text in result.output


def test_a_rule_that_names_no_known_place_is_refused(tmp_path: Path, rules: Path) -> None:
    result = analyze(YARD, *SCRIPT, "--rules", rules, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "door" in result.output


def test_a_file_where_a_folder_was_meant_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("precious")
    result = analyze(YARD, *SCRIPT, "--out", out)
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert out.read_text() == "precious"
