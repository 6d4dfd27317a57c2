"""YOLOX-Nano through the stage on real surveillance video sees what a plain decoder sees."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.events.detections_made import DetectionsMade
from services.inference.backends import load
from services.inference.backends.port import Options
from services.inference.stage import DetectStage
from shared.images import Bitmap
from shared.vision.boxes import iou, to_ltrb
from tests.engines.fixtures import Data
from tests.unit.inference.events import frame, opened, plan

Boxes = NDArray[np.float64]


@pytest.mark.data
def test_recall_and_precision_on_pets09(test_data: Data) -> None:
    seen = detections(test_data.media("pets09-s2l1-300.mp4"), test_data.model())
    told = ground_truth(test_data.media("pets09-s2l1-300.gt.txt"))
    assert len(seen) == 300
    right = sum(matches(told.get(number, none()), boxes) for number, boxes in seen.items())
    assert right / sum(map(len, told.values())) == pytest.approx(0.900, abs=0.005)
    assert right / sum(map(len, seen.values())) == pytest.approx(0.773, abs=0.005)


def detections(video: Path, model: Path) -> dict[int, Boxes]:
    """Persons by frame number, as the stage says them with every frame looked at."""
    detector = load(str(model), "", Options())
    wish = plan(every_frame=True, classes=("person",), threshold=0.3)
    stage = DetectStage(plan_of=lambda _: wish, detector_of=lambda _: detector)
    stage.run(opened())
    found: dict[int, Boxes] = {}
    with av.open(str(video)) as film:
        for number, picture in enumerate(film.decode(video=0), 1):
            pixels = picture.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
            size = (picture.width, picture.height)
            said = stage.run(frame(number, picture=Bitmap(pixels), size=size))[0].event
            assert isinstance(said, DetectionsMade)
            assert said.coverage == "full"
            found[number] = rows([seen.box for seen in said.detections])
    return found


def ground_truth(file: Path) -> dict[int, Boxes]:
    told: dict[int, list[tuple[float, ...]]] = {}
    for line in file.read_text().splitlines():
        fields = [float(field) for field in line.split(",")]
        told.setdefault(int(fields[0]), []).append(tuple(fields[2:6]))
    return {number: rows(boxes) for number, boxes in told.items()}


def matches(told: Boxes, seen: Boxes) -> int:
    """How many are matched one to one at an intersection over union of a half (augmenting paths)."""
    if not len(told) or not len(seen):
        return 0
    near = iou(to_ltrb(told), to_ltrb(seen)) >= 0.5
    owner: dict[int, int] = {}

    def finds_a_place(row: int, tried: set[int]) -> bool:
        for column in np.flatnonzero(near[row]).tolist():
            if column not in tried:
                tried.add(column)
                if column not in owner or finds_a_place(owner[column], tried):
                    owner[column] = row
                    return True
        return False

    return sum(finds_a_place(row, set()) for row in range(len(told)))


def rows(boxes: list[tuple[float, ...]]) -> Boxes:
    return np.array(boxes, np.float64).reshape(-1, 4)


def none() -> Boxes:
    return rows([])
