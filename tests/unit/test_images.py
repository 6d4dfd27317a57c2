"""Pictures: what goes in comes out, once encoded, and nothing oversized or broken is unpacked."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.cloudevents import JpegPicture
from shared import images
from shared.errors import Invalid


def gradient(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2, columns * 2, rows + columns], axis=2).astype(np.uint8)


def test_jpeg_keeps_what_the_eye_sees() -> None:
    image = gradient()
    back = images.decode(images.encode(image, 95))
    assert back.shape == image.shape
    assert np.abs(back.astype(int) - image.astype(int)).mean() < 3


def test_bitmap_encodes_once_even_when_threads_ask_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    encode = images.encode

    def counting(image: NDArray[np.uint8], quality: int = images.QUALITY) -> bytes:
        calls.append(quality)
        return encode(image, quality)

    monkeypatch.setattr(images, "encode", counting)
    bitmap = images.Bitmap(gradient())
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: bitmap.jpeg(), range(32)))
    assert len(made) == 1
    assert calls == [images.QUALITY]


def test_pixels_of_a_bitmap_are_shared_and_read_only() -> None:
    image = gradient()
    seen = images.pixels(images.Bitmap(image))
    assert np.shares_memory(seen, image)
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0, 0] = 1


def test_pixels_of_a_jpeg_off_the_log() -> None:
    image = gradient()
    seen = images.pixels(JpegPicture(images.encode(image)))
    assert seen.shape == image.shape


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(Invalid, match=r"give uint8 of \(height, width, 3\)"):
        images.Bitmap(image)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"<html>camera login</html>", "neither JPEG nor PNG"),
        (b"\xff\xd8\xff", "no size in its header"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(40), "no size in its header"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "no size in its header"),
    ],
)
def test_what_is_no_file_of_a_picture_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        images.decode(data)


def test_a_jpeg_cut_off_is_refused() -> None:
    data = images.encode(np.random.default_rng(1).integers(0, 255, (90, 90, 3), np.uint8))
    with pytest.raises(Invalid, match="cut off"):
        images.decode(data[: len(data) // 2])


def test_broken_data_behind_a_good_header_is_refused() -> None:
    png = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR"
    png += (8).to_bytes(4, "big") + (8).to_bytes(4, "big") + b"\x08\x02\x00\x00\x00" + bytes(30)
    with pytest.raises(Invalid, match="broken"):
        images.decode(png)


def test_limits_hold_before_anything_is_unpacked() -> None:
    data = images.encode(gradient())
    with pytest.raises(Invalid, match=r"the limit is 10$"):
        images.decode(data, max_bytes=10)
    with pytest.raises(Invalid, match="64x48; the limit is 100 pixels"):
        images.decode(data, max_pixels=100)
    bomb = b"\x89PNG\r\n\x1a\n" + bytes(8) + (60_000).to_bytes(4, "big") * 2
    with pytest.raises(Invalid, match="60000x60000"):
        images.decode(bomb)


def test_size_is_read_past_other_segments_and_fill_bytes() -> None:
    data = images.encode(gradient())
    comment = b"\xff\xff\xfe" + (6).to_bytes(2, "big") + b"note"
    assert images.size(data[:2] + comment + data[2:]) == (64, 48)


def test_resize_averages_when_it_shrinks() -> None:
    board = np.zeros((8, 8, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    assert np.unique(images.resize(board, 4, 4)).tolist() == [100]
    assert images.resize(board, 20, 10).shape == (10, 20, 3)
    with pytest.raises(Invalid, match="0x4"):
        images.resize(board, 0, 4)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(quality: int) -> None:
    with pytest.raises(Invalid, match="give 1 to 100"):
        images.encode(gradient(), quality)
