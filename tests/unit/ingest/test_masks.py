"""Masks cover every pixel that their polygon touches, and no others."""

import numpy as np
import pytest

from services.ingest.masks import Masks, covered

TRIANGLE = [(0.25, 0.25), (0.75, 0.25), (0.5, 0.75)]


def test_a_rectangle_is_blackened_and_nothing_else() -> None:
    picture = np.full((100, 200, 3), 255, np.uint8)
    Masks([[(0.1, 0.2), (0.3, 0.2), (0.3, 0.6), (0.1, 0.6)]], 200, 100).burn(picture)
    assert not picture[20:60, 20:60].any()
    kept = picture.copy()
    kept[19:61, 19:61] = 255
    assert (kept == 255).all()


def test_touched_pixels_are_covered() -> None:
    mask = covered(TRIANGLE, 400, 400)
    for ax, ay, bx, by in ((100, 100, 300, 100), (300, 100, 200, 300), (200, 300, 100, 100)):
        for share in np.linspace(0, 1, 50):
            x, y = ax + (bx - ax) * share, ay + (by - ay) * share
            assert mask[min(399, int(y)), min(399, int(x))]
    assert mask[200, 200]
    assert not mask[50, 50]
    assert not mask[290, 110]


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (641, 359)])
def test_the_whole_frame(size: tuple[int, int]) -> None:
    assert covered([(0, 0), (1, 0), (1, 1), (0, 1)], *size).all()


def test_beyond_the_edge_is_cut_off() -> None:
    mask = covered([(0.5, -0.5), (1.5, -0.5), (1.5, 0.5), (0.5, 0.5)], 100, 100)
    assert mask[:50, 50:].all()
    assert not mask[60:, :].any()


def test_no_masks_change_nothing() -> None:
    picture = np.full((10, 10, 3), 7, np.uint8)
    Masks([], 10, 10).burn(picture)
    assert (picture == 7).all()


def test_grey_pictures_too() -> None:
    picture = np.full((10, 10), 7, np.uint8)
    Masks([[(0, 0), (1, 0), (1, 0.5), (0, 0.5)]], 10, 10).burn(picture)
    assert not picture[:5].any()
    assert (picture[6:] == 7).all()
