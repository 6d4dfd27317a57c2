"""Rings of pictures: the right one is found, and memory has an end."""

import numpy as np
import pytest

from schemas.cloudevents import JpegPicture
from schemas.events.frame_captured import FrameCaptured
from services.inference.snapshots import Kept, Rings
from shared.images import Bitmap
from tests.unit.inference.events import PERIOD, SECOND, START, frame


def keep(rings: Rings, seq: int, *, camera: str = "yard", epoch: int = 1, size: int = 0) -> Kept:
    event = frame(seq, camera=camera, epoch=epoch).event
    assert isinstance(event, FrameCaptured)
    kept = rings.keep(event, JpegPicture(f"{camera}-{epoch}-{seq}".encode()))
    if size:
        rings.pack(kept, f"{camera}-{epoch}-{seq}".encode().ljust(size))
    return kept


def found(rings: Rings, seq: int, *, camera: str = "yard", epoch: int = 1) -> str | None:
    picture = rings.nearest(camera, epoch, seq, START + (seq - 1) * PERIOD)
    return picture.jpeg().decode().strip() if picture is not None else None


def test_the_very_frame_is_found() -> None:
    rings = Rings(seconds=30, limit=10_000)
    for seq in range(1, 20):
        keep(rings, seq)
    keep(rings, 5, epoch=2)
    assert found(rings, 5) == "yard-1-5"
    assert found(rings, 5, epoch=2) == "yard-2-5"


def test_the_nearest_one_stands_in_within_two_seconds() -> None:
    rings = Rings(seconds=30, limit=10_000)
    keep(rings, 1)
    keep(rings, 8)
    assert found(rings, 6) == "yard-1-8"
    assert found(rings, 18) == "yard-1-8"
    assert found(rings, 19) is None
    assert found(rings, 1, camera="hall") is None


def test_only_the_last_seconds_of_event_time_are_kept() -> None:
    rings = Rings(seconds=2, limit=10_000)
    for seq in range(1, 100):
        keep(rings, seq, size=10)
    assert rings.size == 11 * 10
    assert found(rings, 89) == "yard-1-89"
    assert found(rings, 70) is None


def test_memory_ends_and_the_heaviest_camera_gives_way() -> None:
    rings = Rings(seconds=30, limit=1000)
    keep(rings, 1, camera="hall", size=100)
    for seq in range(1, 50):
        keep(rings, seq, size=100)
    assert rings.size == 1000
    assert found(rings, 1, camera="hall") == "hall-1-1"
    assert found(rings, 41) == "yard-1-41"
    assert found(rings, 25) is None


def test_pixels_are_replaced_by_their_jpeg() -> None:
    rings = Rings(seconds=30, limit=100_000)
    event = frame(1).event
    assert isinstance(event, FrameCaptured)
    kept = rings.keep(event, Bitmap(np.zeros((8, 8, 3), np.uint8)))
    assert rings.size == 0
    rings.pack(kept, b"jpeg")
    assert rings.size == 4
    assert found(rings, 1) == "jpeg"


def test_what_was_dropped_meanwhile_is_not_counted() -> None:
    rings = Rings(seconds=30, limit=1000)
    kept = keep(rings, 1)
    rings.drop("yard")
    rings.pack(kept, b"x" * 100)
    assert rings.size == 0
    assert not rings.holds("yard")


@pytest.mark.parametrize("back", [40 * SECOND, 3600 * SECOND])
def test_event_time_that_jumps_back_leaves_no_old_pictures(back: int) -> None:
    rings = Rings(seconds=30, limit=10_000)
    keep(rings, 18_000 + 1, size=20)
    keep(rings, 18_000 + 1 - back // PERIOD, epoch=2, size=20)
    assert rings.size == 20
