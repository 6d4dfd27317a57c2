"""The layouts of YOLOX, YOLOv8/11 and YOLO26, read from graphs whose answers are told beforehand."""

from math import log
from pathlib import Path

import numpy as np
import pytest

from schemas.events.detections_made import Detection
from services.inference.backends.onnx import OnnxDetector, load
from services.inference.backends.port import DetectorFailed, Frame, Options
from shared.errors import Invalid
from tests.unit.inference import graphs

SQUARE = np.zeros((64, 64, 3), np.uint8)
WIDE = np.zeros((60, 120, 3), np.uint8)
NAMES = {"names": "{0: 'cat', 1: 'dog'}", "task": "detect"}


def look(
    detector: OnnxDetector, pixels: np.typing.NDArray[np.uint8] = SQUARE, *classes: str
) -> list[Detection]:
    return detector.detect([Frame(pixels)], threshold=0.3, nms=0.45, classes=classes)[0]


def seen(found: list[Detection]) -> list[tuple[str, float, tuple[float, ...]]]:
    return [(each.label, each.score, tuple(round(side, 2) for side in each.box)) for each in found]


def test_yolox_cells_become_pixels(tmp_path: Path) -> None:
    cell = 8 * 3 + 2  # row 3, column 2 of the finest grid (stride 8)
    coarse = 64 + 16 + 1  # row 0, column 1 of the coarsest (stride 32)
    answer = graphs.yolox(
        {
            cell: (0.5, 0.5, log(2), log(1), 0.8, 0.9, 0.1),
            coarse: (0.5, 1.0, log(0.5), log(0.5), 0.9, 0.2, 0.5),
            3: (0, 0, 0, 0, 0.9, 0.3, 0.3),
        },
        classes=2,
    )
    detector = load(str(graphs.save(tmp_path / "pets.onnx", answer, metadata=NAMES)), Options())
    assert detector.model.labels == ("cat", "dog")
    assert seen(look(detector)) == [
        ("cat", 0.72, (12.0, 24.0, 16.0, 8.0)),
        ("dog", 0.45, (40.0, 24.0, 16.0, 16.0)),
    ]


def test_yolox_with_the_decoding_inside(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answer = np.zeros((84, 7), np.float32)
    answer[:, :2] = rng.uniform(20, 64, (84, 2))
    answer[5] = (32, 16, 10, 20, 1.0, 0.6, 0.0)
    detector = load(str(graphs.save(tmp_path / "m.onnx", answer)), Options())
    assert seen(look(detector)) == [("class_0", 0.6, (27.0, 6.0, 10.0, 20.0))]


def test_ultralytics_columns_become_pixels_of_a_letterboxed_frame(tmp_path: Path) -> None:
    answer = graphs.ultralytics(
        {
            7: (32, 32, 32, 16, 0.1, 0.8),
            9: (33, 32, 32, 16, 0.1, 0.7),
            60: (8, 24, 32, 8, 0.5, 0.4),
        },
        classes=2,
    )
    detector = load(str(graphs.save(tmp_path / "m.onnx", answer, metadata=NAMES)), Options())
    # 120x60 lies at scale 64/120 between rows 16 and 48; the second dog is the first one again.
    assert seen(look(detector, WIDE)) == [
        ("dog", 0.8, (30.0, 15.0, 60.0, 30.0)),
        ("cat", 0.5, (0.0, 7.5, 45.0, 15.0)),
    ]


def test_end_to_end_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [(16.0, 16.0, 48.0, 32.0, 0.6, 1.0), (16.0, 16.0, 48.0, 32.0, 0.9, 1.0)]
    answer = graphs.end_to_end([*rows, (0, 0, 9, 9, 0.2, 0)])
    detector = load(str(graphs.save(tmp_path / "m.onnx", answer, metadata=NAMES)), Options())
    assert detector.model.labels == ("cat", "dog")
    assert seen(look(detector)) == [
        ("dog", 0.9, (16.0, 16.0, 32.0, 16.0)),
        ("dog", 0.6, (16.0, 16.0, 32.0, 16.0)),
    ]
    assert look(detector, SQUARE, "cat") == []


def test_classes_without_names_are_those_of_coco_or_numbers(tmp_path: Path) -> None:
    column = (32.0, 32.0, 8.0, 8.0, *[0.0] * 16, 0.9, *[0.0] * 63)
    coco = graphs.ultralytics({1: column}, classes=80, cells=189)
    file = graphs.save(tmp_path / "coco.onnx", coco, shape=(1, 3, 96, 96))
    detector = load(str(file), Options())
    assert [each.label for each in look(detector)] == ["dog"]
    assert [each.label for each in look(detector, SQUARE, "dog", "person")] == ["dog"]
    assert look(detector, SQUARE, "person") == []
    assert look(detector, SQUARE, "unicorn") == []
    three = graphs.ultralytics({1: (32, 32, 8, 8, 0.1, 0.1, 0.9)}, classes=3)
    broken = {"names": "{0: 'cat', 2: __import__('os')}"}
    detector = load(str(graphs.save(tmp_path / "m.onnx", three, metadata=broken)), Options())
    assert detector.model.labels == ("class_0", "class_1", "class_2")


def test_a_dynamic_batch_axis_takes_several_frames(tmp_path: Path) -> None:
    answer = graphs.ultralytics({7: (32, 32, 16, 16, 0.9)}, classes=1)
    file = graphs.save(
        tmp_path / "m.onnx",
        answer,
        shape=("batch", 3, "height", "width"),
        metadata={"imgsz": "[64, 64]"},
        follow=True,
    )
    detector = load(str(file), Options(batch=4))
    assert detector.model.batch == 4
    white, grey = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 128, np.uint8)
    frames = [Frame(white), Frame(SQUARE), Frame(grey)]
    found = detector.detect(frames, threshold=0.1, nms=0.45, classes=())
    assert [[each.score for each in row] for row in found] == [
        [0.9],
        [],
        [pytest.approx(0.9 * 128 / 255, abs=1e-4)],
    ]


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    answer = graphs.ultralytics({7: (32, 32, 16, 16, 0.9)}, classes=1)
    file = graphs.save(tmp_path / "m.onnx", answer, shape=(2, 3, 64, 64))
    detector = load(str(file), Options())
    assert detector.model.batch == 2
    assert len(look(detector)) == 1


def test_half_precision(tmp_path: Path) -> None:
    answer = graphs.ultralytics({7: (32, 32, 16, 16, 0.5)}, classes=1)
    detector = load(str(graphs.save(tmp_path / "m.onnx", answer, half=True)), Options())
    assert seen(look(detector)) == [("class_0", 0.5, (24.0, 24.0, 16.0, 16.0))]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_a_failure_not_an_empty_street(
    tmp_path: Path, bad: float
) -> None:
    answers = {
        "yolox": graphs.yolox({1: (0, 0, 0, 0, bad, bad)}, classes=1),
        "v8": graphs.ultralytics({1: (8, 8, 8, 8, bad)}, classes=1),
        "v26": graphs.end_to_end([(0, 0, 8, 8, bad, 0)]),
    }
    for name, answer in answers.items():
        detector = load(str(graphs.save(tmp_path / f"{name}.onnx", answer)), Options())
        with pytest.raises(DetectorFailed, match=rf"model {name}@\w+ failed: .*no numbers"):
            look(detector)


def test_boxes_that_are_no_numbers_or_have_no_area_are_left_out(tmp_path: Path) -> None:
    nan = float("nan")
    answer = graphs.end_to_end(
        [
            (nan, 0, 8, 8, 0.9, 0),
            (8, 8, 8, 8, 0.9, 0),
            (30, 30, 20, 40, 0.9, 0),
            (70, 70, 90, 90, 0.9, 0),
            (60, 60, 90, 90, 0.5, 0),
        ]
    )
    detector = load(str(graphs.save(tmp_path / "m.onnx", answer)), Options())
    assert seen(look(detector)) == [("person", 0.5, (60.0, 60.0, 4.0, 4.0))]


@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        (np.zeros((10, 10), np.float32), {}, "1x10x10 to an input of 64x64, which is no layout"),
        (graphs.end_to_end([]), {"metadata": {"task": "segment"}}, "made for 'segment'"),
        (graphs.end_to_end([]), {"shape": (1, 1, 64, 64)}, "not one picture"),
    ],
)
def test_a_model_that_does_not_detect_is_refused(
    tmp_path: Path, answer: np.typing.NDArray[np.float32], options: dict[str, object], reason: str
) -> None:
    file = graphs.save(tmp_path / "other.onnx", answer, **options)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=reason) as refused:
        load(str(file), Options())
    assert "other" in str(refused.value)
    assert "export" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (None, "gone.onnx", "there is no file"),
        (b"", "empty.onnx", "is empty"),
        (b"no model at all", "text.onnx", "no model that ONNX Runtime can load"),
        (b"PK\x03\x04", "best.pt", "PyTorch checkpoint"),
    ],
)
def test_a_file_that_is_no_model_is_refused_by_name(
    tmp_path: Path, content: bytes | None, name: str, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Invalid, match=reason) as refused:
        load(str(tmp_path / name), Options())
    assert name in str(refused.value)
    assert refused.value.field == "model"


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is no file"):
        load(str(tmp_path), Options())


def test_a_provider_that_is_not_installed_names_those_that_are(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "m.onnx", graphs.end_to_end([]))
    with pytest.raises(Invalid, match=r"'NoSuchProvider' is not installed; use one of .*cpu"):
        load(str(file), Options(providers=("NoSuchProvider",)))


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "m.onnx", graphs.end_to_end([]))
    one = load(str(file), Options()).model
    assert one.version == f"m@{one.digest}"
    graphs.save(file, graphs.end_to_end([(0, 0, 8, 8, 0.5, 0)]))
    assert load(str(file), Options()).model.digest != one.digest
