"""The scene time as black and white blocks in a picture's top left corner; it survives JPEG.

Two rows of 24 blocks, 8 by 8 pixels each, so that a block is one block of the JPEG too: 40 bits of microseconds,
most significant first, and 8 bits of checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 8
COLUMNS, ROWS = 24, 2
WIDTH, HEIGHT = COLUMNS * BLOCK, ROWS * BLOCK
BLACK, WHITE = 16, 235

_TIME_BITS, _CHECK_BITS = 40, 8
_BITS = _TIME_BITS + _CHECK_BITS
_SHIFTS = np.arange(_BITS - 1, -1, -1, dtype=np.uint64)


def encode_time(picture: NDArray[np.uint8], time: int) -> None:
    """Write `time` (microseconds, below 2**40) into a BGR picture of at least 192 by 16 pixels, in place.

    Raises:
        ValueError: the time does not fit, or the picture is too small.
    """
    if not 0 <= time < 1 << _TIME_BITS or picture.shape[0] < HEIGHT or picture.shape[1] < WIDTH:
        raise ValueError(
            f"time {time} does not fit on a picture of {picture.shape[1]}x{picture.shape[0]}"
        )
    word = np.uint64(time << _CHECK_BITS | _checksum(time))
    bits = (word >> _SHIFTS & np.uint64(1)).astype(np.uint8).reshape(ROWS, COLUMNS)
    shades = BLACK + bits * np.uint8(WHITE - BLACK)
    lines = shades.repeat(BLOCK * 3, axis=1).reshape(ROWS, 1, WIDTH, 3)
    picture[:HEIGHT, :WIDTH] = lines.repeat(BLOCK, axis=1).reshape(HEIGHT, WIDTH, 3)


def read_time(picture: NDArray[np.uint8]) -> int | None:
    """The time that `encode_time` wrote, or None where there is no strip or it is damaged."""
    if picture.shape[0] < HEIGHT or picture.shape[1] < WIDTH:
        return None
    green = picture[:HEIGHT, :WIDTH, 1].reshape(ROWS, BLOCK, COLUMNS, BLOCK)
    means = green.mean(axis=(1, 3)).reshape(-1)
    middle = (BLACK + WHITE) / 2
    if np.any(np.abs(means - middle) < (WHITE - BLACK) / 4):
        return None
    word = int(((means > middle).astype(np.uint64) << _SHIFTS).sum())
    time = word >> _CHECK_BITS
    return time if word & (1 << _CHECK_BITS) - 1 == _checksum(time) else None


def _checksum(time: int) -> int:
    """Never 0 or 255 together with an empty or a full word, so that a plain wall is no time."""
    return (sum(time.to_bytes(5, "big")) * 31 + 0x5A) & 0xFF
