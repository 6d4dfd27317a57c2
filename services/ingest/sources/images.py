"""Folders of pictures: `images:///folder?fps=2&loop=1&rate=max`, JPEG and PNG, in the order of their names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.ingest.sources.options import playing
from services.ingest.sources.port import Shot, SourceError
from shared import images
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from services.ingest.sources.port import Opening, Pixels

SUFFIXES = {".jpg", ".jpeg", ".png"}
DEFAULT_FPS = 5.0


def open_source(opening: Opening) -> ImagesSource:
    """Open a folder of pictures.

    Raises:
        SourceError: it is missing, no folder, or has no JPEG or PNG in it.
    """
    how = playing(opening.url, rated=True)
    if not how.path.is_dir():
        raise SourceError("unreadable", f"{how.path} is no folder; name one that holds pictures")
    paths = sorted(path for path in how.path.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SourceError("unreadable", f"{how.path} holds no picture (.jpg, .jpeg or .png)")
    return ImagesSource(
        paths, how.fps or DEFAULT_FPS, loop=how.loop, paced=how.paced, limit=opening.max_pixels
    )


class ImagesSource:
    """Pictures of a folder as a film."""

    live = False
    still = ()
    codec = "images"

    def __init__(
        self, paths: Sequence[Path], fps: float, *, loop: bool, paced: bool, limit: int
    ) -> None:
        self._paths = paths
        self._loop = loop
        self._limit = limit
        self.fps = fps
        self.paced = paced

    def shots(self) -> Iterator[Shot]:
        """The pictures, each 1/fps after the one before."""
        while True:
            for number, path in enumerate(self._paths):
                offset = round(number * 1_000_000 / self.fps)
                yield Shot(offset, offset, number == 0, partial(self._read, path))
            if not self._loop:
                return

    def close(self) -> None:
        """Nothing is held open between two pictures."""

    def _read(self, path: Path) -> Pixels:
        try:
            return images.decode(path.read_bytes(), max_pixels=self._limit)
        except OSError as error:
            raise SourceError("unreadable", f"{path}: {error.strerror}") from None
        except Invalid as error:
            raise SourceError("unreadable", f"{path.name}: {error}") from None
