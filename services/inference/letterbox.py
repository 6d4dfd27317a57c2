"""Letterbox: a frame scaled into the input of a model without changing its shape, the rest padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.images import Pixels

PADDING = 114


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a family of models wants its input: where the frame lies, order of colours, scale of values."""

    centred: bool
    rgb: bool
    factor: float


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the input, in pixels of the input, and the scale that brought it there."""

    scale: float
    left: int
    top: int
    width: int
    height: int

    def back(self, boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """Boxes (n, 4) of left, top, right, bottom in the input, as pixels of the frame and within it."""
        moved = boxes - np.array([self.left, self.top] * 2, np.float32)
        moved /= np.float32(self.scale)
        np.clip(moved[:, 0::2], 0, width, out=moved[:, 0::2])
        np.clip(moved[:, 1::2], 0, height, out=moved[:, 1::2])
        return moved


def place(width: int, height: int, room: tuple[int, int], *, centred: bool) -> Placement:
    """Fit a frame into an input of (width, height): to its top left, or to its middle.

    The roundings are those with which the families were trained: YOLOX cuts, Ultralytics rounds.
    """
    scale = min(room[0] / width, room[1] / height)
    if not centred:
        return Placement(scale, 0, 0, max(1, int(width * scale)), max(1, int(height * scale)))
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (room[0] - wide) / 2, (room[1] - high) / 2
    return Placement(scale, round(left - 0.1), round(top - 0.1), wide, high)


class Canvas:
    """The input of one frame, kept and written again and again: shape (3, height, width).

    One thread at a time. Frames of one size rewrite only the part that they cover.
    """

    def __init__(self, blob: NDArray[np.floating], style: Style) -> None:
        self._blob = blob
        self._style = style
        self._source = (0, 0)
        self._placement = Placement(1.0, 0, 0, 1, 1)
        self._small = np.empty((1, 1, 3), np.uint8)
        self._planes: list[NDArray[np.uint8]] = []

    def draw(self, pixels: Pixels) -> Placement:
        """Write a frame; answers where it lies."""
        import cv2

        height, width = pixels.shape[:2]
        if (width, height) != self._source:
            self._turn_to(width, height)
        place = self._placement
        size = (place.width, place.height)
        if size == self._source:
            cv2.split(pixels, self._planes)
        else:
            cv2.resize(pixels, size, dst=self._small, interpolation=cv2.INTER_LINEAR)
            cv2.split(self._small, self._planes)
        part = self._blob[:, place.top : place.top + place.height, place.left :][..., : place.width]
        planes = reversed(self._planes) if self._style.rgb else self._planes
        for target, plane in zip(part, planes, strict=True):
            self._write(target, plane)
        return place

    def _turn_to(self, width: int, height: int) -> None:
        """Lay the canvas out for frames of another size."""
        room = (self._blob.shape[2], self._blob.shape[1])
        self._source = (width, height)
        self._placement = place(width, height, room, centred=self._style.centred)
        shape = (self._placement.height, self._placement.width)
        self._small = np.empty((*shape, 3), np.uint8)
        self._planes = [np.empty(shape, np.uint8) for _ in range(3)]
        self._blob[:] = PADDING * self._style.factor

    def _write(self, target: NDArray[np.floating], plane: NDArray[np.uint8]) -> None:
        if self._style.factor == 1:
            target[:] = plane
        else:
            np.multiply(plane, target.dtype.type(self._style.factor), out=target, casting="unsafe")
