"""The annotated video: places, boxes and ids drawn over the pictures that were looked at."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from shared import images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from schemas.events.camera_configured import CameraConfigured
    from schemas.events.tracks_seen import SeenTrack
    from services.ingest.sources.port import Pixels

TICKS = 1000
PLACES = (200, 200, 60)
HELD = (150, 150, 150)


class Overlay:
    """An MP4 file being written; its size is that of the first picture, made even."""

    def __init__(self, path: Path, document: CameraConfigured) -> None:
        import av

        self._av = av
        self._container = av.open(str(path), "w")
        self._document = document
        self._stream: Any = None
        self._last = -1

    def add(self, picture: Pixels, tracks: Sequence[SeenTrack], offset: int) -> None:
        """Draw a picture; `offset`: its time in microseconds, later than the one before."""
        if self._stream is None:
            self._stream = self._open(picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2)
        canvas = picture.copy()
        self._draw_places(canvas)
        for track in tracks:
            _draw_track(canvas, track)
        canvas = images.resize(canvas, self._stream.width, self._stream.height)
        frame = self._av.VideoFrame.from_ndarray(canvas, format="bgr24")
        self._last = max(self._last + 1, offset * TICKS // 1_000_000)
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _open(self, width: int, height: int) -> Any:  # noqa: ANN401 - PyAV's own
        stream = self._container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        return stream

    def _draw_places(self, canvas: Pixels) -> None:
        import cv2

        size = (canvas.shape[1], canvas.shape[0])
        for zone in self._document.zones:
            corners = (np.array(zone.points) * size).astype(np.int32)
            cv2.polylines(canvas, [corners], isClosed=True, color=PLACES)
        for line in self._document.lines:
            corners = (np.array((line.a, line.b)) * size).astype(np.int32)
            cv2.polylines(canvas, [corners], isClosed=False, color=PLACES, thickness=2)


def _draw_track(canvas: Pixels, track: SeenTrack) -> None:
    import cv2

    left, top, width, height = (round(side) for side in track.box)
    number = track.track.rpartition("-")[2]
    color = HELD if track.held else _color(int(number))
    cv2.rectangle(canvas, (left, top), (left + width, top + height), color, 2)
    place = (left, max(12, top - 4))
    cv2.putText(canvas, f"{track.label} {number}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1)


def _color(number: int) -> tuple[int, int, int]:
    """Bright colours, far from those of the neighbours."""
    return 60 + number * 67 % 190, 60 + number * 131 % 190, 60 + number * 29 % 190
