"""How families of models write their answers, and how to read them: YOLOX, Ultralytics, end to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.inference.letterbox import Style
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
ULTRALYTICS = Style(centred=True, rgb=True, factor=1 / 255)
YOLOX = Style(centred=False, rgb=False, factor=1.0)


@dataclass(frozen=True)
class Found:
    """Candidates of one frame in pixels of the input: boxes (n, 4) of left, top, right, bottom."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


class Layout(Protocol):
    """Reads the answer to one frame."""

    @property
    def style(self) -> Style:
        """How the input is wanted."""
        ...

    @property
    def classes(self) -> int | None:
        """How many classes the answer tells apart; None where it does not say."""
        ...

    @property
    def suppressed(self) -> bool:
        """No two candidates are the same object: nothing is left to suppress."""
        ...

    def read(
        self, answer: NDArray[np.float32], threshold: float, wanted: NDArray[np.int64] | None
    ) -> Found:
        """Candidates that reach the threshold, each with the best of the `wanted` classes (None: of all)."""
        ...


def recognise(answer: NDArray[np.float32], room: tuple[int, int]) -> Layout:
    """The layout of a model by its answer (batch, a, b) to a grey input of (width, height).

    Raises:
        Invalid: it is none of those that are known.
    """
    if answer.ndim == 3:
        _, rows, columns = answer.shape
        for strides in STRIDES:
            cells = sum((room[0] // step) * (room[1] // step) for step in strides)
            if rows == cells and columns > 5:
                return Yolox(room, strides, columns - 5, decoded=_is_decoded(answer[0]))
            if columns == cells and rows > 4:
                return Ultralytics(rows - 4)
        if columns == 6:
            return EndToEnd()
    shape = "x".join(str(side) for side in answer.shape)
    raise Invalid(
        f"the model answers {shape} to an input of {room[0]}x{room[1]}, which is no layout we know; "
        "export a detection model of YOLOX, YOLOv8, YOLO11 or YOLO26",
        field="model",
    )


class Yolox:
    """YOLOX: a row a cell of (x, y, width, height, objectness, classes...); score = objectness x class.

    Raw answers hold offsets in cells and logarithms of sizes: centre = (offset + cell) x stride,
    size = exp(size) x stride (Ge et al. 2021, arXiv:2107.08430). Models exported with the decoding inside
    answer pixels.
    """

    style = YOLOX
    suppressed = False

    def __init__(
        self, room: tuple[int, int], strides: Sequence[int], classes: int, *, decoded: bool
    ) -> None:
        self.classes = classes
        self._decoded = decoded
        self._cells, self._steps = _grid(room, strides)

    def read(
        self, answer: NDArray[np.float32], threshold: float, wanted: NDArray[np.int64] | None
    ) -> Found:
        """See `Layout.read`."""
        _require_numbers(answer[:, 4])
        likely = np.flatnonzero(answer[:, 4] >= threshold)
        rows = answer[likely]
        scores = rows[:, 5:] if wanted is None else rows[:, 5 + wanted]
        scores, kinds = _best(scores * rows[:, 4:5], wanted)
        good = scores >= threshold
        return Found(self._boxes(rows[good], likely[good]), scores[good], kinds[good])

    def _boxes(self, rows: NDArray[np.float32], cells: NDArray[np.intp]) -> NDArray[np.float32]:
        if self._decoded:
            return _corners(rows[:, :2], rows[:, 2:4])
        steps = self._steps[cells]
        sizes = np.exp(np.minimum(rows[:, 2:4], 20.0)) * steps
        return _corners((rows[:, :2] + self._cells[cells]) * steps, sizes)


class Ultralytics:
    """YOLOv8 and YOLO11: a column a candidate of (x, y, width, height, classes...), in pixels."""

    style = ULTRALYTICS
    suppressed = False

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def read(
        self, answer: NDArray[np.float32], threshold: float, wanted: NDArray[np.int64] | None
    ) -> Found:
        """See `Layout.read`."""
        table = answer[4:] if wanted is None else answer[4 + wanted]
        highest = table.max(axis=0, initial=0.0)
        _require_numbers(highest)
        good = np.flatnonzero(highest >= threshold)
        scores, kinds = _best(table[:, good].T, wanted)
        columns = answer[:4, good].T
        return Found(_corners(columns[:, :2], columns[:, 2:]), scores, kinds)


class EndToEnd:
    """YOLO26, and exports with suppression inside: rows of (left, top, right, bottom, score, class)."""

    style = ULTRALYTICS
    suppressed = True
    classes = None

    def read(
        self, answer: NDArray[np.float32], threshold: float, wanted: NDArray[np.int64] | None
    ) -> Found:
        """See `Layout.read`."""
        _require_numbers(answer[:, 4])
        _require_numbers(answer[:, 5])
        good = answer[:, 4] >= threshold
        if wanted is not None:
            good &= np.isin(answer[:, 5], wanted)
        rows = answer[good]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return Found(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def _best(
    scores: NDArray[np.float32], wanted: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of each row the best score and its class; (n, classes) -> (n,), (n,)."""
    if scores.shape[1] == 0:
        return np.zeros(len(scores), np.float32), np.zeros(len(scores), np.int64)
    best = scores.argmax(axis=1)
    kinds = best if wanted is None else wanted[best]
    return scores[np.arange(len(scores)), best], kinds.astype(np.int64)


def _corners(centres: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    half = sizes / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def _grid(
    room: tuple[int, int], strides: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of every cell (n, 2), and its stride (n, 1)."""
    cells, steps = [], []
    for stride in strides:
        rows, columns = np.mgrid[0 : room[1] // stride, 0 : room[0] // stride]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        steps.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(steps).astype(np.float32)


def _is_decoded(answer: NDArray[np.float32]) -> bool:
    """Offsets lie within a few cells; centres in pixels are spread over the whole input."""
    return bool(np.median(np.abs(answer[:, :2])) > 16)


def _require_numbers(scores: NDArray[np.float32]) -> None:
    if not np.isfinite(scores.sum()):
        raise FloatingPointError("it answers scores that are no numbers")
