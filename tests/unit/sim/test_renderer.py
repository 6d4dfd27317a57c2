"""Pictures of the yard: their time survives JPEG, people stand where the scene says."""

import numpy as np
import pytest

from shared import images
from shared.sim.renderer import Renderer
from shared.sim.scene import SECOND, Scene
from shared.sim.timestrip import encode_time, read_time


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(Scene(seed=7), 640, 360)


@pytest.mark.parametrize("time", [0, 1, 200_000, 12_345_678, 59_999_999])
@pytest.mark.parametrize("quality", [95, 60])
def test_the_time_survives_jpeg(renderer: Renderer, time: int, quality: int) -> None:
    jpeg = images.encode(renderer.draw(time), quality)
    assert read_time(images.decode(jpeg)) == time


def test_the_strip_holds_forty_bits() -> None:
    picture = np.zeros((16, 192, 3), np.uint8)
    encode_time(picture, (1 << 40) - 1)
    assert read_time(picture) == (1 << 40) - 1
    with pytest.raises(ValueError, match="does not fit"):
        encode_time(picture, 1 << 40)
    with pytest.raises(ValueError, match="does not fit"):
        encode_time(np.zeros((16, 191, 3), np.uint8), 0)


@pytest.mark.parametrize("shade", [0, 16, 128, 235, 255])
def test_a_plain_picture_has_no_time(shade: int) -> None:
    assert read_time(np.full((360, 640, 3), shade, np.uint8)) is None


def test_a_damaged_strip_has_no_time(renderer: Renderer) -> None:
    picture = renderer.draw(5 * SECOND)
    picture[8:16, 184:192] = 235 - picture[8:16, 184:192]
    assert read_time(picture) != 5 * SECOND
    picture[:16, :192] = 100
    assert read_time(picture) is None


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (256, 144)])
def test_people_are_where_the_scene_says(size: tuple[int, int]) -> None:
    scene = Scene(seed=7)
    renderer = Renderer(scene, *size)
    empty = renderer.draw(scene.duration - 1)
    busy = renderer.draw(6 * SECOND)
    changed = np.abs(busy.astype(int) - empty.astype(int)).max(axis=2) > 12
    actors = scene.at(6 * SECOND)
    assert len(actors) >= 2
    for actor in actors:
        left, top, wide, high = (round(side) for side in actor.pixels(*size))
        inside = changed[top : top + high, left : left + wide]
        assert inside.mean() > 0.25
        rows = np.flatnonzero(inside.any(axis=1))
        assert rows[0] < 0.1 * high + 2
        assert rows[-1] > 0.9 * high - 2


def test_time_past_the_end_shows_the_next_pass(renderer: Renderer) -> None:
    assert np.array_equal(renderer.draw(61 * SECOND), renderer.draw(SECOND))


def test_the_backdrop_stays_clean(renderer: Renderer) -> None:
    before = renderer.draw(0)
    renderer.draw(12 * SECOND)
    assert np.array_equal(before, renderer.draw(0))
