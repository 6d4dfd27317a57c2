"""One suite for every detector back-end: what a caller may rely on, whoever looks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.events.detections_made import Detection
from services.inference.backends import load
from services.inference.backends.port import Detector, Frame, Options
from shared.errors import Invalid
from shared.sim.renderer import Renderer
from shared.sim.scene import SECOND, Scene
from tests.unit.inference import graphs

WIDTH, HEIGHT = 320, 180
SOMEBODY = 5 * SECOND
"""A time at which somebody is in the simulated yard."""

Make = Callable[[Path], tuple[Detector, Frame]]


def yolox(folder: Path) -> tuple[Detector, Frame]:
    answer = graphs.yolox(
        {20: (0.5, 0.5, 2.5, 2.5, 0.9, 0.9, 0.1), 40: (0, 0, 9, 9, 0.9, 0.1, 0.8)}, classes=2
    )
    return _onnx(folder, answer, (1, 3, 64, 64))


def ultralytics(folder: Path) -> tuple[Detector, Frame]:
    columns = {n: (4.0 * n, 30.0, 30.0, 90.0, 0.9 - n / 100, n / 30) for n in range(16)}
    answer = graphs.ultralytics(columns, classes=2)
    return _onnx(folder, answer, ("batch", 3, 64, 64))


def end_to_end(folder: Path) -> tuple[Detector, Frame]:
    rows = [(-20.0, 5.0, 70.0, 50.0, 0.9, 0.0), (10.0, 20.0, 20.0, 40.0, 0.7, 1.0)]
    return _onnx(folder, graphs.end_to_end(rows), (1, 3, 64, 64))  # type: ignore[arg-type]


def scripted_scene(folder: Path) -> tuple[Detector, Frame]:
    pixels = Renderer(Scene(), WIDTH, HEIGHT).draw(SOMEBODY)
    return load("scripted:sim?noise=0.2", "", Options(parallel=4)), Frame(pixels)


def scripted_file(folder: Path) -> tuple[Detector, Frame]:
    file = folder / "told.txt"
    file.write_text("1,7,-10,20,60,400,0.9\n1,8,300,170,90,90,0.8\n1,9,400,10,5,5,1\n")
    return load(f"scripted:{file}?fps=5", "", Options(parallel=4)), Frame(_grey())


def _onnx(
    folder: Path,
    answer: NDArray[np.float32],
    shape: tuple[int | str, int | str, int | str, int | str],
) -> tuple[Detector, Frame]:
    names = {"names": "{0: 'person', 1: 'dog'}"}
    file = graphs.save(folder / "model.onnx", answer, shape=shape, metadata=names)
    return load(str(file), "", Options(parallel=4, batch=4)), Frame(_grey())


def _grey() -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


@pytest.fixture(
    params=[yolox, ultralytics, end_to_end, scripted_scene, scripted_file],
    ids=lambda make: make.__name__,
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Detector, Frame]:
    """A detector and a frame in which it sees something."""
    make: Make = request.param
    return make(tmp_path)


def look(detector: Detector, frame: Frame, **wishes: object) -> list[Detection]:
    asked = {"threshold": 0.2, "nms": 0.45, "classes": (), **wishes}
    return detector.detect([frame], **asked)[0]  # type: ignore[arg-type]  # as in `asked`


def test_no_frames_no_answers(subject: tuple[Detector, Frame]) -> None:
    assert subject[0].detect([], threshold=0.2, nms=0.45, classes=()) == []


def test_it_says_what_looked(subject: tuple[Detector, Frame]) -> None:
    model = subject[0].model
    assert model.name
    assert model.version.startswith(model.name)
    assert min(model.batch, model.parallel) >= 1
    assert len(set(model.labels)) == len(model.labels) > 0
    assert model.simulated == model.name.startswith("scripted")


def test_boxes_lie_inside_the_frame_and_labels_are_its_own(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    found = look(detector, frame)
    assert found
    for seen in found:
        left, top, width, height = seen.box
        assert left >= 0
        assert top >= 0
        assert min(width, height) >= 0.5
        assert left + width <= WIDTH + 1e-6
        assert top + height <= HEIGHT + 1e-6
        assert 0.2 <= seen.score <= 1
        assert seen.label in detector.model.labels


def test_the_best_come_first(subject: tuple[Detector, Frame]) -> None:
    scores = [seen.score for seen in look(*subject)]
    assert scores == sorted(scores, reverse=True)


def test_a_batch_answers_frame_by_frame(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    alone = look(detector, frame)
    frames = [frame] * detector.model.batch
    together = detector.detect(frames, threshold=0.2, nms=0.45, classes=())
    assert together == [alone] * len(frames)


def test_more_frames_than_the_batch_are_refused(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    frames = [frame] * (detector.model.batch + 1)
    with pytest.raises(Invalid, match=f"{len(frames)} frames at once"):
        detector.detect(frames, threshold=0.2, nms=0.45, classes=())


def test_the_same_frame_is_always_answered_alike_in_any_thread(
    subject: tuple[Detector, Frame],
) -> None:
    detector, frame = subject
    alone = look(detector, frame)
    with ThreadPoolExecutor(detector.model.parallel) as pool:
        assert list(pool.map(lambda _: look(detector, frame), range(12))) == [alone] * 12


def test_a_higher_threshold_only_takes_away(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    everything = look(detector, frame)
    threshold = everything[0].score - 0.001
    assert look(detector, frame, threshold=threshold) == [
        seen for seen in everything if seen.score > threshold
    ]
    assert look(detector, frame, threshold=1.0) == [seen for seen in everything if seen.score == 1]


def test_only_the_classes_that_are_asked_for(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    label = look(detector, frame)[0].label
    assert {seen.label for seen in look(detector, frame, classes=(label, "unicorn"))} == {label}
    assert look(detector, frame, classes=("unicorn",)) == []


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((HEIGHT, WIDTH), np.uint8),
        np.zeros((HEIGHT, WIDTH, 4), np.uint8),
        np.zeros((0, WIDTH, 3), np.uint8),
        np.full((HEIGHT, WIDTH, 3), np.nan, np.float32),
    ],
)
def test_what_is_no_picture_is_refused(
    subject: tuple[Detector, Frame], pixels: NDArray[np.uint8]
) -> None:
    with pytest.raises(Invalid, match=r"give uint8 of \(height, width, 3\)"):
        look(subject[0], Frame(pixels))


def test_read_only_pixels_are_enough(subject: tuple[Detector, Frame]) -> None:
    detector, frame = subject
    pixels = frame.pixels.copy()
    pixels.flags.writeable = False
    assert look(detector, Frame(pixels, frame.elapsed)) == look(detector, frame)
    assert np.array_equal(pixels, frame.pixels)


def test_an_unknown_back_end_names_those_there_are() -> None:
    with pytest.raises(Invalid, match=r"'crystal-ball' is unknown; use one of onnx, scripted"):
        load("model.onnx", "crystal-ball", Options())
