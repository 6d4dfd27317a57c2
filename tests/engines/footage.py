"""Short synthetic film for RTSP cameras: a bright square walks over a grey ramp."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray


class Footage(NamedTuple):
    """What a camera plays, over and over. Sizes in pixels, even; a picture group is one second."""

    width: int = 320
    height: int = 240
    fps: int = 10
    seconds: int = 2
    codec: Literal["h264", "mjpeg"] = "h264"

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures, (height, width, 3) BGR."""
        total = self.fps * self.seconds
        side = self.height // 4
        ramp = np.linspace(40, 120, self.width, dtype=np.uint8)
        for index in range(total):
            picture = np.repeat(np.tile(ramp, (self.height, 1))[:, :, None], 3, axis=2)
            left = (self.width - side) * index // max(total - 1, 1)
            picture[side : 2 * side, left : left + side] = (60, 200, 240)
            yield picture

    def encode(self, folder: Path) -> None:
        """Write one file per access unit (`00000`, `00001`, ...), in playing order, key frame first."""
        folder.mkdir(parents=True)
        for index, unit in enumerate(self._units()):
            (folder / f"{index:05d}").write_bytes(unit)

    def _units(self) -> Iterator[bytes]:
        # The raw format of both codecs is packets one after another, so the container only counts.
        with av.open(io.BytesIO(), "w", format=self.codec) as film:
            stream = film.add_stream("libx264" if self.codec == "h264" else "mjpeg", rate=self.fps)
            stream.width, stream.height = self.width, self.height
            stream.pix_fmt = "yuv420p" if self.codec == "h264" else "yuvj420p"
            stream.time_base = Fraction(1, self.fps)
            stream.options = self._options()
            for picture in self.pictures():
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                yield from map(bytes, stream.encode(frame))
            yield from map(bytes, stream.encode(None))

    def _options(self) -> dict[str, object]:
        if self.codec == "mjpeg":
            return {"huffman": "default"}  # RTP carries no tables: both ends know the standard's
        return {
            "preset": "veryfast",
            "tune": "zerolatency",
            "bf": "0",
            "g": str(self.fps),
            "x264-params": "aud=1:repeat-headers=1:scenecut=0:annexb=1",
        }
