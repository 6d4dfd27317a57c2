"""A plain SORT with the settings of its paper, written anew as the measure for our tracker.

Source: Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016: a constant-velocity Kalman filter a track
over centre, area and aspect ratio, assignment by IoU, three hits in a row before a track is given out.
"""

import math

import lap
import numpy as np

from shared.vision.boxes import FloatArray, iou

Box = tuple[float, float, float, float]

LEAST_OVERLAP = 0.3
HITS = 3


class Sort:
    """Boxes of a frame in, (id, left, top, width, height) out."""

    def __init__(self, *, memory: int) -> None:
        self._memory = memory
        self._tracks: list[_Track] = []
        self._frame = self._count = 0

    def update(self, boxes: FloatArray) -> list[tuple[int, Box]]:
        """Boxes [N, 4] as left, top, right, bottom; ids count from 1."""
        self._frame += 1
        expected = np.array([track.predict() for track in self._tracks]).reshape(-1, 4)
        taken = self._correct(boxes, iou(boxes, expected))
        for index in range(len(boxes)):
            if index not in taken:
                self._count += 1
                self._tracks.append(_Track(self._count, boxes[index]))
        rows = [
            (track.id, track.box())
            for track in self._tracks
            if track.unseen == 0 and (track.streak >= HITS or self._frame <= HITS)
        ]
        self._tracks = [track for track in self._tracks if track.unseen <= self._memory]
        return rows

    def _correct(self, boxes: FloatArray, overlap: FloatArray) -> set[int]:
        if not overlap.size:
            return set()
        _, partners, _ = lap.lapjv(-overlap, extend_cost=True)
        taken = {
            index
            for index, partner in enumerate(partners)
            if partner >= 0 and overlap[index, partner] >= LEAST_OVERLAP
        }
        for index in taken:
            self._tracks[partners[index]].correct(boxes[index])
        return taken


class _Track:
    def __init__(self, identity: int, box: FloatArray) -> None:
        self.id = identity
        self.unseen = self.streak = 0
        self._x = np.concatenate((_measured(box), np.zeros(3)))
        self._p = np.diag((10.0, 10.0, 10.0, 10.0, 1e4, 1e4, 1e4))

    def predict(self) -> tuple[float, float, float, float]:
        if self._x[2] + self._x[6] <= 0:
            self._x[6] = 0.0
        self._x = F @ self._x
        self._p = F @ self._p @ F.T + Q
        self.streak = self.streak if self.unseen == 0 else 0
        self.unseen += 1
        left, top, width, height = self.box()
        return left, top, left + width, top + height

    def correct(self, box: FloatArray) -> None:
        self.unseen = 0
        self.streak += 1
        gain = self._p @ H.T @ np.linalg.inv(H @ self._p @ H.T + R)
        self._x = self._x + gain @ (_measured(box) - H @ self._x)
        self._p = (np.eye(7) - gain @ H) @ self._p

    def box(self) -> Box:
        x, y, area, ratio = self._x[:4]
        width = math.sqrt(max(area * ratio, 1e-6))
        height = area / width
        return float(x - width / 2), float(y - height / 2), width, float(height)


F = np.eye(7) + np.eye(7, k=4)
H = np.eye(4, 7)
Q = np.diag((1.0, 1.0, 1.0, 1.0, 1e-2, 1e-2, 1e-4))
R = np.diag((1.0, 1.0, 10.0, 10.0))


def _measured(box: FloatArray) -> FloatArray:
    """Centre x, centre y, area, width over height."""
    width, height = box[2] - box[0], box[3] - box[1]
    return np.array((box[0] + width / 2, box[1] + height / 2, width * height, width / height))
