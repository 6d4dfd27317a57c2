"""The loops that we are measured against: decode and detect, plainly, and with supervision on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import av
import cv2
import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 416
CONFIDENCE, NMS = 0.3, 0.45

Seen: TypeAlias = "dict[int, list[list[float]]]"
"""Person boxes (left, top, width, height) by frame number, from 1."""


def bare(video: Path, network: Network, *, jpeg: bool = False) -> Seen:
    """Decode, letterbox, run, decode boxes, suppress: nothing else. `jpeg`: through a JPEG in between."""
    seen: Seen = {}
    for number, picture in enumerate(pictures(video), 1):
        if jpeg:
            data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 85))[1]
            picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        corners, scores = network.persons(picture)
        kept = corners[suppressed(corners, scores)]
        kept[:, 2:] -= kept[:, :2]
        seen[number] = kept.tolist()
    return seen


def supervised(video: Path, network: Network) -> Seen:
    """What a user would write: supervision's detections and a zone over the same network."""
    import supervision

    zone = supervision.PolygonZone(np.array([[100, 200], [600, 200], [600, 560], [100, 560]]))
    seen: Seen = {}
    for number, picture in enumerate(pictures(video), 1):
        corners, scores = network.persons(picture)
        found = supervision.Detections(
            xyxy=corners, confidence=scores, class_id=np.zeros(len(corners), int)
        ).with_nms(threshold=NMS)
        zone.trigger(found)
        boxes = np.array(found.xyxy)
        boxes[:, 2:] -= boxes[:, :2]
        seen[number] = boxes.tolist()
    return seen


def pictures(video: Path) -> Iterator[NDArray[Any]]:
    """Every picture, with one decoder thread."""
    with av.open(str(video)) as film:
        stream = film.streams.video[0]
        stream.thread_count = 1
        for frame in film.decode(stream):
            yield frame.to_ndarray(format="bgr24")


class Network:
    """YOLOX at 416 by 416 with one intra-op thread."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        cells, steps = [], []
        for stride in (8, 16, 32):
            rows, columns = np.mgrid[0 : SIDE // stride, 0 : SIDE // stride]
            cells.append(np.stack([columns, rows], -1).reshape(-1, 2))
            steps.append(np.full((rows.size, 1), stride))
        self._cells = np.concatenate(cells).astype(np.float32)
        self._steps = np.concatenate(steps).astype(np.float32)

    def persons(self, picture: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Corners (n, 4) in pixels of the picture, and scores, of all candidates."""
        height, width = picture.shape[:2]
        scale = min(SIDE / height, SIDE / width)
        small = cv2.resize(picture, (int(width * scale), int(height * scale)))
        canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        blob = np.ascontiguousarray(canvas.transpose(2, 0, 1), dtype=np.float32)[None]
        raw = self._session.run(None, {"images": blob})[0][0]
        scores = raw[:, 4] * raw[:, 5]
        good = scores >= CONFIDENCE
        raw, steps = raw[good], self._steps[good]
        centres = (raw[:, :2] + self._cells[good]) * steps
        half = np.exp(raw[:, 2:4]) * steps / 2
        corners = np.concatenate([centres - half, centres + half], 1) / scale
        return corners, scores[good]


def suppressed(corners: NDArray[Any], scores: NDArray[Any]) -> list[int]:
    """Greedy non-maximum suppression, the way everybody writes it."""
    order = scores.argsort()[::-1]
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        inner = np.minimum(corners[best, 2:], corners[rest, 2:]) - np.maximum(
            corners[best, :2], corners[rest, :2]
        )
        shared = np.clip(inner, 0, None).prod(1)
        order = rest[shared / (areas[best] + areas[rest] - shared) <= NMS]
    return kept
