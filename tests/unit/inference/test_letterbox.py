"""The letterbox: where a frame lies in the input, which colours it has there, and the way back."""

import numpy as np
import pytest

from services.inference.layouts import ULTRALYTICS, YOLOX
from services.inference.letterbox import Canvas, place


@pytest.mark.parametrize(
    ("size", "room", "scale", "content"),
    [
        ((768, 576), (416, 416), 416 / 768, (416, 312)),
        ((640, 360), (416, 416), 0.65, (416, 234)),
        ((360, 640), (416, 416), 0.65, (234, 416)),
        ((100, 100), (640, 384), 3.84, (384, 384)),
    ],
)
def test_a_frame_keeps_its_shape_at_the_top_left(
    size: tuple[int, int], room: tuple[int, int], scale: float, content: tuple[int, int]
) -> None:
    found = place(*size, room, centred=False)
    assert (found.left, found.top, found.width, found.height) == (0, 0, *content)
    assert found.scale == pytest.approx(scale)


def test_a_centred_frame_has_equal_padding() -> None:
    found = place(640, 360, (640, 640), centred=True)
    assert (found.left, found.top, found.width, found.height) == (0, 140, 640, 360)
    odd = place(100, 51, (100, 100), centred=True)
    assert (odd.top, odd.height) == (24, 51)


def test_boxes_find_back_to_the_pixels_of_the_frame_and_stay_inside() -> None:
    found = place(1280, 720, (640, 640), centred=True)
    boxes = np.array([[100, 240, 200, 340], [-50, 0, 700, 640]], np.float32)
    assert found.back(boxes, 1280, 720).tolist() == [[200, 200, 400, 400], [0, 0, 1280, 720]]


def test_yolox_wants_blue_first_and_whole_numbers_padded_with_grey() -> None:
    blob = np.zeros((3, 64, 64), np.float32)
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[..., 0], frame[..., 2] = 10, 200
    Canvas(blob, YOLOX).draw(frame)
    assert blob[:, 0, 0].tolist() == [10, 0, 200]
    assert blob[:, 31, 63].tolist() == [10, 0, 200]
    assert np.unique(blob[:, 32:]).tolist() == [114]


def test_ultralytics_wants_red_first_between_nought_and_one() -> None:
    blob = np.zeros((3, 64, 64), np.float32)
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[..., 0], frame[..., 2] = 51, 255
    Canvas(blob, ULTRALYTICS).draw(frame)
    assert blob[:, 32, 32].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert np.unique(blob[:, :16]) == pytest.approx([114 / 255])
    assert np.unique(blob[:, 48:]) == pytest.approx([114 / 255])


def test_a_frame_of_another_size_leaves_nothing_of_the_one_before() -> None:
    blob = np.zeros((3, 64, 64), np.float32)
    canvas = Canvas(blob, YOLOX)
    canvas.draw(np.full((64, 64, 3), 255, np.uint8))
    canvas.draw(np.full((64, 16, 3), 7, np.uint8))
    assert np.unique(blob[:, :, :16]).tolist() == [7]
    assert np.unique(blob[:, :, 16:]).tolist() == [114]


def test_a_read_only_region_of_a_frame_is_drawn() -> None:
    blob = np.zeros((3, 32, 32), np.float32)
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[16:48, 16:48] = 99
    frame.flags.writeable = False
    Canvas(blob, YOLOX).draw(frame[16:48, 16:48])
    assert np.unique(blob).tolist() == [99]
