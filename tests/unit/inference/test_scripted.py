"""Scripts: the simulated scene told from its pictures, and files told by event time."""

from pathlib import Path

import numpy as np
import pytest

from schemas.events.detections_made import Detection
from services.inference.backends import load, resolve
from services.inference.backends.port import Detector, DetectorFailed, Frame, Options
from shared import images
from shared.errors import Invalid
from shared.sim.renderer import Renderer
from shared.sim.scene import SECOND, Scene

BLACK = np.zeros((100, 200, 3), np.uint8)


def look(detector: Detector, frame: Frame) -> list[Detection]:
    return detector.detect([frame], threshold=0.3, nms=0.45, classes=())[0]


def open_script(script: str) -> Detector:
    return load(f"scripted:{script}", "", Options())


@pytest.mark.parametrize(
    ("model", "backend", "expected"),
    [
        ("scripted:sim?seed=3", "", ("scripted", "sim?seed=3")),
        ("sim?seed=3", "scripted", ("scripted", "sim?seed=3")),
        ("scripted:sim", "scripted", ("scripted", "sim")),
        ("yolo.onnx", "", ("onnx", "yolo.onnx")),
        ("C:yolo.onnx", "", ("onnx", "C:yolo.onnx")),
        ("", "scripted", ("scripted", "")),
    ],
)
def test_a_prefix_names_the_back_end(model: str, backend: str, expected: tuple[str, str]) -> None:
    assert resolve(model, backend) == expected


def test_the_scene_is_told_exactly_even_after_jpeg() -> None:
    scene = Scene(seed=11, duration_s=40)
    detector = open_script("sim?seed=11&duration=40")
    assert detector.model.version == "scripted:sim"
    renderer = Renderer(scene, 640, 360)
    told = 0
    for second in range(40):
        picture = images.decode(images.encode(renderer.draw(second * SECOND)))
        found = look(detector, Frame(picture))
        expected = [actor.pixels(640, 360) for actor in scene.at(second * SECOND)]
        assert len(found) == len(expected)
        for seen, box in zip(sorted(each.box for each in found), sorted(expected), strict=True):
            assert seen == pytest.approx(box, abs=0.02)
        told += len(found)
    assert told > 40


def test_a_picture_without_scene_time_is_a_failure() -> None:
    with pytest.raises(DetectorFailed, match="sim:// cameras only"):
        look(open_script("sim"), Frame(BLACK))


def test_noise_moves_hides_and_is_the_same_each_time() -> None:
    renderer = Renderer(Scene(), 320, 180)
    frames = [Frame(renderer.draw(half * SECOND // 2), half) for half in range(80)]
    exact, noisy = open_script("sim"), open_script("sim?noise=0.2")
    found = [look(noisy, frame) for frame in frames]
    again = open_script("sim?noise=0.2")
    assert found == [look(again, frame) for frame in frames]
    all_of_them = sum(len(look(exact, frame)) for frame in frames)
    assert 0.6 * all_of_them < sum(map(len, found)) < 0.95 * all_of_them
    assert len({each.score for row in found for each in row}) > 10


def test_json_lines_are_told_by_time(tmp_path: Path) -> None:
    file = tmp_path / "detections.jsonl"
    file.write_text(
        '{"frame":1,"time":0.0,"class":"person","score":0.9,"box":[1,2,30,40]}\n'
        '{"frame":3,"time":0.4,"class":"dog","score":0.8,"box":[5,6,30,40],"more":1}\n'
    )
    detector = open_script(str(file))
    assert detector.model.labels == ("dog", "person")
    assert detector.model.digest
    assert [each.label for each in look(detector, Frame(BLACK, 0))] == ["person"]
    assert look(detector, Frame(BLACK, 200_000)) == []
    assert [each.label for each in look(detector, Frame(BLACK, 399_999))] == ["dog"]
    assert look(detector, Frame(BLACK, 900_000)) == []


def test_motchallenge_text_is_told_by_frame_rate(tmp_path: Path) -> None:
    file = tmp_path / "gt.txt"
    file.write_text("1,4,10,20,30,40,1,-1,-1,-1\n\n8,4,50,20,30,40,0.5\n")
    detector = open_script(f"{file}?fps=7")
    assert look(detector, Frame(BLACK, 0))[0].box == (10, 20, 30, 40)
    assert look(detector, Frame(BLACK, 1_000_000))[0].score == 0.5
    assert look(detector, Frame(BLACK, 857_142)) == []


@pytest.mark.parametrize(
    ("content", "query", "reason"),
    [
        ("1,2,3,4,5,6,1\n", "", "add \\?fps="),
        ("1,2,3,4,5,6,1\n", "?fps=0", "fps=0 of the script: give 0.01 to 1000"),
        ("1,2,3,four,5,6,1\n", "?fps=5", "line 1"),
        ("1,2\n", "?fps=5", "line 1"),
        ('{"frame":1}\n', "", "missing required field"),
        ("{not json\n", "", "malformed"),
    ],
)
def test_a_file_that_is_no_script_is_refused(
    tmp_path: Path, content: str, query: str, reason: str
) -> None:
    file = tmp_path / "told.txt"
    file.write_text(content)
    with pytest.raises(Invalid, match=reason):
        open_script(f"{file}{query}")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("gone.jsonl", "there is no script gone.jsonl"),
        ("sim?noise=2", "noise=2 of the script: give 0 to 0.9"),
        ("sim?colour=red", "colour"),
    ],
)
def test_wishes_that_cannot_be_met(script: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        open_script(script)
