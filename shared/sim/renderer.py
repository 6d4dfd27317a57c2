"""Pictures of the simulated yard: a background made once, the people laid on it, the scene time in a strip.

A picture of 640 by 360 takes well under a millisecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.sim import timestrip
from shared.sim.backdrop import backdrop
from shared.sim.figures import Figures, Sprite
from shared.sim.lettering import Lettering
from shared.sim.scene import SECOND, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Renderer:
    """Draws one scene at one size."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        self.scene = scene
        self.width, self.height = width, height
        self._backdrop = backdrop(width, height)
        self._figures = Figures()
        dot = max(1, height // 180)
        self._letters = Lettering(dot)
        self._baseline = height - 9 * dot
        self._letters.write(self._backdrop, "SIMULATED", self._at(0.02), self._baseline)

    @property
    def written(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        """Where the strip and the clock stand, as polygons in fractions of the frame: no motion of the yard."""
        left = 1 - (self._letters.width("00:00") + self._at(0.03)) / self.width
        top = (self._baseline - 2) / self.height
        return (
            _corners(0.0, 0.0, timestrip.WIDTH / self.width, timestrip.HEIGHT / self.height),
            _corners(left, top, 1.0, 1.0),
        )

    def draw(self, time: int) -> NDArray[np.uint8]:
        """The picture at a presentation time in microseconds: uint8 BGR of shape (height, width, 3)."""
        within = time % self.scene.duration
        picture = self._backdrop.copy()
        for actor in self.scene.during(within):
            left, top, wide, high = actor.pixels(self.width, self.height)
            # A box that the frame's edge cuts is narrower than its figure: the feet alone say where it stands.
            x = left + wide if left > 0 and left + wide >= self.width else left + wide / 2
            _lay_on(picture, self._figures.of(actor, round(high)), round(x), round(top + high))
        clock = f"{within // (60 * SECOND):02d}:{within // SECOND % 60:02d}"
        self._letters.write(
            picture,
            clock,
            self.width - self._letters.width(clock) - self._at(0.02),
            self._baseline,
        )
        timestrip.encode_time(picture, within)
        return picture

    def _at(self, share: float) -> int:
        return int(share * self.height)


def _lay_on(picture: NDArray[np.uint8], sprite: Sprite, x: int, y: int) -> None:
    """Put the sprite's feet at (x, y), in place, cut off at the edges."""
    high, wide = sprite.through.shape[:2]
    left, top = x - sprite.foot[0], y - sprite.foot[1]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + wide), min(picture.shape[0], top + high)
    if x0 >= x1 or y0 >= y1:
        return
    cut = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    under = picture[y0:y1, x0:x1]
    mixed = under * sprite.through[cut]
    mixed += sprite.paint[cut]
    mixed >>= 8
    under[:] = mixed


def _corners(
    left: float, top: float, right: float, bottom: float
) -> tuple[tuple[float, float], ...]:
    return (left, top), (right, top), (right, bottom), (left, bottom)
