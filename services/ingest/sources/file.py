"""Video files: `file:///path/film.mp4?loop=1&rate=max`. Played once and at their own rate unless the URL says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.ingest.sources.decoder import Decoder, open_container, unpack
from services.ingest.sources.options import playing
from services.ingest.sources.port import Shot, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.ingest.sources.port import Opening

# Containers of one film. Not among them: playlists and their like, which make the reader open other things.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v,mjpeg,ivf,nut,wtv,mxf"


def open_source(opening: Opening) -> FileSource:
    """Open a video file.

    Raises:
        SourceError: it is missing, empty, a directory, not allowed to be read, or no video.
    """
    how = playing(opening.url)
    check_file(how.path)
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        decoder = Decoder(
            open_container(opening, options, f"file:{how.path}"), opening, patience=60.0
        )
    except SourceError as error:
        raise SourceError("unreadable", f"{how.path.name}: {error.reason}") from None
    return FileSource(decoder, loop=how.loop, paced=how.paced)


def check_file(path: Path) -> None:
    """Refuse what cannot be a film before a decoder sees it.

    Raises:
        SourceError: names the file and what is wrong with it.
    """
    if path.is_dir():
        reason = (
            f"{path} is a directory; name a file, or use images://{path} for a folder of pictures"
        )
        raise SourceError("unreadable", reason)
    if not path.is_file():
        raise SourceError("unreadable", f"{path}: there is no such file")
    if not os.access(path, os.R_OK):
        raise SourceError("unreadable", f"{path}: reading it is not allowed")
    if path.stat().st_size == 0:
        raise SourceError("unreadable", f"{path} is empty (0 bytes)")


class FileSource:
    """A film in a file."""

    live = False
    still = ()

    def __init__(self, decoder: Decoder, *, loop: bool, paced: bool) -> None:
        self._decoder = decoder
        self._loop = loop
        self.paced = paced
        self.codec = decoder.codec
        self.fps = decoder.fps

    def shots(self) -> Iterator[Shot]:
        """Its pictures; with `loop` pass after pass without end."""
        while True:
            yield from self._one_pass()
            if not self._loop:
                return
            self._decoder.rewind()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def _one_pass(self) -> Iterator[Shot]:
        step = round(1_000_000 / self.fps) if self.fps else 40_000
        last, first = -1, None
        for frame in self._decoder.frames():
            begins = first is None
            first = frame.pts or 0 if first is None else first
            stamped = self._decoder.offset(frame, first)
            offset = last + step if stamped is None else stamped
            last = 0 if begins else max(last + 1, offset)
            yield Shot(last, last, begins, unpack(frame))
