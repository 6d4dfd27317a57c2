"""The one place where pictures become JPEG and JPEG becomes pictures; OpenCV is loaded at the first of them.

Pixels are uint8 arrays of shape (height, width, 3), channels in the order blue, green, red. Whoever gets
them from a picture shares them: they are read-only.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias

from shared.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from schemas.event import Picture

    Pixels: TypeAlias = NDArray[np.uint8]

QUALITY = 85
MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 64 * 1024 * 1024

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Bitmap:
    """A picture that came as pixels; its JPEG (quality 85) is made at the first call of `jpeg`, once.

    The pixels are shared, not copied: the giver must not write to them any more.

    Raises:
        Invalid: no uint8 array of shape (height, width, 3), or one without any pixel.
    """

    __slots__ = ("_jpeg", "_lock", "_pixels")

    def __init__(self, pixels: Pixels) -> None:
        _require_bgr(pixels)
        self._pixels = pixels.view()
        self._pixels.flags.writeable = False
        self._jpeg: bytes | None = None
        self._lock = threading.Lock()

    def jpeg(self) -> bytes:
        """The picture as JPEG; two threads that ask at once get the same bytes."""
        with self._lock:
            if self._jpeg is None:
                self._jpeg = encode(self._pixels)
            return self._jpeg

    def pixels(self) -> Pixels:
        """The pixels, read-only."""
        return self._pixels


def pixels(picture: Picture) -> Pixels:
    """The pixels of any picture: those at hand, or its JPEG decoded (each time anew).

    Raises:
        Invalid: the JPEG is broken or over the limits.
    """
    if isinstance(picture, Bitmap):
        return picture.pixels()
    return decode(picture.jpeg())


def encode(image: Pixels, quality: int = QUALITY) -> bytes:
    """The JPEG of an image; quality 1..100.

    Raises:
        Invalid: no uint8 array of shape (height, width, 3), a side over 65,500, or a quality out of range.
    """
    import cv2

    _require_bgr(image)
    if not 1 <= quality <= 100:
        raise Invalid(f"quality is {quality}; give 1 to 100", field="quality")
    if max(image.shape[:2]) > 65_500:
        raise Invalid(f"image of {_shape(image)} is too large for JPEG; resize it", field="image")
    made, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not made:
        raise Invalid(f"image of {_shape(image)} could not be encoded", field="image")
    return data.tobytes()


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of a JPEG or PNG file; its size is read from its header and checked before it is unpacked.

    An orientation written in it is ignored: width and height are those of the header.

    Raises:
        Invalid: neither JPEG nor PNG, over a limit, cut off or broken.
    """
    import cv2
    import numpy as np

    if len(data) > max_bytes:
        raise Invalid(f"picture has {len(data)} bytes; the limit is {max_bytes}", field="picture")
    width, height = size(data)
    if width * height > max_pixels:
        raise Invalid(
            f"picture is {width}x{height}; the limit is {max_pixels} pixels", field="picture"
        )
    if data.startswith(_JPEG) and _JPEG_END not in data[-1024:]:
        raise Invalid("picture is a JPEG that was cut off; send it whole", field="picture")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None or image.shape[:2] != (height, width):
        raise Invalid("picture is broken: its header is readable, its data is not", field="picture")
    return image.astype(np.uint8, copy=False)


def size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of a JPEG or PNG file gives, without unpacking it.

    Raises:
        Invalid: neither JPEG nor PNG, or without a size.
    """
    if data.startswith(_PNG) and len(data) >= 24:
        found = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif data.startswith(_JPEG):
        found = _jpeg_size(data)
    else:
        raise Invalid("picture is neither JPEG nor PNG", field="picture")
    if min(found) < 1:
        raise Invalid("picture has no size in its header; it is broken or cut off", field="picture")
    return found


def resize(image: Pixels, width: int, height: int) -> Pixels:
    """The image at another size: area averages when it shrinks, bilinear when it grows.

    Raises:
        Invalid: no uint8 array of shape (height, width, 3), or a size below 1.
    """
    import cv2
    import numpy as np

    _require_bgr(image)
    if min(width, height) < 1:
        raise Invalid(f"size is {width}x{height}; both sides must be at least 1", field="size")
    shrinks = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments of a JPEG (ITU-T T.81, B.1) to its frame header; (0, 0) where there is none."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return 0, 0
        marker = data[place + 1]
        if marker in _FRAME_HEADERS:
            return (
                int.from_bytes(data[place + 7 : place + 9], "big"),
                int.from_bytes(data[place + 5 : place + 7], "big"),
            )
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _NO_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0, 0


def _require_bgr(image: Pixels) -> None:
    fits = getattr(image, "ndim", 0) == 3 and image.shape[2] == 3 and image.dtype == "uint8"
    if not fits or 0 in image.shape:
        kind = f"{_shape(image)} of {image.dtype}" if hasattr(image, "dtype") else type(image)
        raise Invalid(f"image is {kind}; give uint8 of (height, width, 3)", field="image")


def _shape(image: Pixels) -> str:
    return "x".join(str(side) for side in image.shape)
