"""Small ONNX graphs that answer like detectors: what they say is told beforehand, scaled by the picture's mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def save(
    path: Path,
    answer: NDArray[np.float32],
    *,
    shape: tuple[int | str, int | str, int | str, int | str] = (1, 3, 64, 64),
    metadata: Mapping[str, str] | None = None,
    follow: bool = False,
    half: bool = False,
) -> Path:
    """A model file whose input has `shape` and whose answer to each frame is `answer` (a, b).

    `follow`: the answer is multiplied by the mean of the input, so that a black frame has none.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    number = np.float16 if half else np.float32
    told = numpy_helper.from_array(answer[None].astype(number), "told")
    weight = numpy_helper.from_array(np.array(1.0 if follow else 0.0, number), "weight")
    rest = numpy_helper.from_array(np.array(0.0 if follow else 1.0, number), "rest")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axes"], ["column"]),
        helper.make_node("Mul", ["column", "weight"], ["weighted"]),
        helper.make_node("Add", ["weighted", "rest"], ["factor"]),
        helper.make_node("Mul", ["factor", "told"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "told",
        [helper.make_tensor_value_info("images", kind, list(shape))],
        [helper.make_tensor_value_info("output", kind, [shape[0], *answer.shape])],
        [told, weight, rest, numpy_helper.from_array(np.array([1, 2], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path


def yolox(
    rows: Mapping[int, tuple[float, ...]], *, classes: int, cells: int = 84
) -> NDArray[np.float32]:
    """Raw YOLOX answers: `rows` maps a cell to (x, y, log width, log height, objectness, classes...)."""
    answer = np.zeros((cells, 5 + classes), np.float32)
    for cell, row in rows.items():
        answer[cell] = row
    return answer


def ultralytics(
    columns: Mapping[int, tuple[float, ...]], *, classes: int, cells: int = 84
) -> NDArray[np.float32]:
    """YOLOv8 answers: `columns` maps a cell to (x, y, width, height, classes...) in pixels of the input."""
    answer = np.zeros((4 + classes, cells), np.float32)
    for cell, column in columns.items():
        answer[:, cell] = column
    return answer


def end_to_end(rows: list[tuple[float, ...]], *, most: int = 300) -> NDArray[np.float32]:
    """YOLO26 answers: rows of (left, top, right, bottom, score, class), padded with zeros."""
    answer = np.zeros((most, 6), np.float32)
    answer[: len(rows)] = np.array(rows, np.float32).reshape(-1, 6)
    return answer
