"""Letters and digits of five by seven dots, for the label and the clock in simulated pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INK = (236, 240, 240)
SHADE = 24

# Seven rows of five bits each, top row first.
_GLYPHS: dict[str, tuple[int, ...]] = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12), ":": (0, 12, 12, 0, 12, 12, 0), "A": (14, 17, 17, 31, 17, 17, 17),
    "D": (28, 18, 17, 17, 17, 18, 28), "E": (31, 16, 16, 30, 16, 16, 31), "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31), "M": (17, 27, 21, 21, 17, 17, 17), "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4), "U": (17, 17, 17, 17, 17, 17, 14),
}  # fmt: skip


class Lettering:
    """Writes on pictures; a dot is `dot` pixels wide and high."""

    def __init__(self, dot: int) -> None:
        self._dot = dot
        self._masks = {letter: _mask(rows, dot) for letter, rows in _GLYPHS.items()}

    def width(self, text: str) -> int:
        """How wide a text is, in pixels."""
        return len(text) * 6 * self._dot

    def write(self, picture: NDArray[np.uint8], text: str, left: int, top: int) -> None:
        """Write in place; the text must lie within the picture."""
        for number, letter in enumerate(text):
            mask = self._masks[letter]
            x = left + number * 6 * self._dot
            for shift, ink in ((self._dot, (SHADE, SHADE, SHADE)), (0, INK)):
                y, beside = top + shift, x + shift
                picture[y : y + mask.shape[0], beside : beside + mask.shape[1]][mask] = ink


def _mask(rows: tuple[int, ...], dot: int) -> NDArray[np.bool_]:
    dots = np.array([[row >> (4 - column) & 1 for column in range(5)] for row in rows], dtype=bool)
    return np.kron(dots, np.ones((dot, dot), dtype=bool)).astype(bool)
