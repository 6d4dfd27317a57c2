"""Motion: what moves is found, light and noise are not, and the same pictures give the same regions."""

import numpy as np
from numpy.typing import NDArray

from services.ingest.motion import MOST_REGIONS, Motion

PERIOD = 200_000
SIZE = (640, 360)


def scene(shade: int = 100, noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    picture = np.full((SIZE[1], SIZE[0], 3), float(shade)) + chance.normal(
        0, noise, (SIZE[1], SIZE[0], 1)
    )
    return picture.clip(0, 255).astype(np.uint8)


def with_box(
    picture: NDArray[np.uint8], left: int, top: int, wide: int = 50, high: int = 120
) -> NDArray[np.uint8]:
    changed = picture.copy()
    changed[top : top + high, left : left + wide] = 200
    return changed


def settled(motion: Motion, pictures: int = 20, noise: float = 3.0) -> int:
    for number in range(pictures):
        motion.update(scene(noise=noise, seed=number), number * PERIOD)
    return pictures * PERIOD


def test_the_first_picture_moves_nothing() -> None:
    assert Motion(*SIZE).update(scene(), 0) == ()


def test_noise_is_no_motion() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    for number in range(30):
        assert motion.update(scene(noise=3.0, seed=100 + number), now + number * PERIOD) == ()


def test_what_moves_lies_in_its_region() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    for step in range(10):
        left = 100 + 30 * step
        regions = motion.update(
            with_box(scene(noise=3.0, seed=50 + step), left, 200), now + step * PERIOD
        )
        assert any(
            x <= left and y <= 200 and x + w >= left + 50 and y + h >= 320 for x, y, w, h in regions
        )
        assert all(x >= 0 and y >= 0 and x + w <= 640 and y + h <= 360 for x, y, w, h in regions)


def test_two_that_move_apart_are_two_regions() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    assert len(motion.update(with_box(with_box(scene(), 50, 100), 450, 100), now)) == 2


def test_light_is_no_motion() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    assert motion.update(scene(shade=180), now) == ()
    assert motion.update(scene(shade=180), now + PERIOD) == ()
    half = scene(shade=180)
    half[:, 200:] = 60
    assert motion.update(half, now + 2 * PERIOD) == ()


def test_dusk_is_no_motion() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    for step in range(40):
        assert motion.update(scene(shade=100 - step), now + step * PERIOD) == ()


def test_what_stands_still_becomes_background() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    standing = with_box(scene(), 300, 200)
    moved = [bool(motion.update(standing, now + step * PERIOD)) for step in range(600)]
    assert all(moved[:50])
    assert not any(moved[-50:])


def test_nothing_counts_under_a_mask() -> None:
    left_half = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
    motion = Motion(*SIZE, ignored=[left_half])
    now = settled(motion)
    assert motion.update(with_box(scene(), 50, 100), now) == ()
    assert motion.update(with_box(scene(), 450, 100), now + PERIOD) != ()


def test_many_regions_are_gathered() -> None:
    motion = Motion(*SIZE)
    now = settled(motion)
    picture = scene()
    for column in range(6):
        for row in range(3):
            picture[row * 120 + 20 : row * 120 + 60, column * 105 + 20 : column * 105 + 50] = 220
    assert len(motion.update(picture, now)) == MOST_REGIONS


def test_the_same_pictures_give_the_same_regions() -> None:
    def run() -> list[object]:
        motion = Motion(*SIZE)
        return [
            motion.update(with_box(scene(noise=4, seed=n), 10 * n, 150), n * PERIOD)
            for n in range(40)
        ]

    assert run() == run()


def test_small_and_odd_pictures() -> None:
    for width, height in ((16, 16), (161, 91), (1921, 1081)):
        motion = Motion(width, height)
        picture = np.zeros((height, width, 3), np.uint8)
        assert motion.update(picture, 0) == ()
        picture[: height // 2, : width // 3] = 255
        motion.update(picture, PERIOD)
