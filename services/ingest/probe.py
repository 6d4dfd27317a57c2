"""The child process of one probe: reads an order, writes an answer.

Started as `python -m services.ingest.probe MEMORY_MB CPU_SECONDS`; both travel as JSON, the order by standard input.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from services.ingest.limits import confine
from services.ingest.sources import open_source
from services.ingest.sources.port import Opening, SourceError
from shared import images

if TYPE_CHECKING:
    from services.ingest.sources.port import Pixels

THUMBNAIL = 320
"""Width of the picture that comes along, in pixels."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found. `thumbnail`: a small JPEG in base64. Without `ok`, `kind` and `reason` say why not."""

    ok: bool
    kind: str = ""
    reason: str = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    thumbnail: str = ""


def main() -> None:
    """Answer one order; ends at once whatever the source still does."""
    confine(memory_mb=int(sys.argv[1]), cpu_seconds=int(sys.argv[2]))
    opening = msgspec.json.decode(sys.stdin.buffer.read(), type=Opening)
    watch = threading.Timer(opening.open_timeout, _late)
    watch.daemon = True
    watch.start()
    _write(look(opening))


def look(opening: Opening) -> Answer:
    """Open the source, take its first picture, let go of it."""
    source = None
    try:
        source = open_source(opening)
        shot = next(source.shots(), None)
        if shot is None:
            return Answer(ok=False, kind="undecodable", reason="there is no picture in it")
        picture = shot.picture()
    except SourceError as error:
        return Answer(ok=False, kind=error.kind, reason=error.reason)
    except MemoryError:
        return Answer(ok=False, kind="unreadable", reason="its pictures need too much memory")
    finally:
        if source is not None:
            source.close()
    return Answer(
        ok=True,
        codec=source.codec,
        width=picture.shape[1],
        height=picture.shape[0],
        fps=round(source.fps, 3),
        thumbnail=_thumbnail(picture),
    )


def _thumbnail(picture: Pixels) -> str:
    height, width = picture.shape[:2]
    small = images.resize(picture, THUMBNAIL, max(1, THUMBNAIL * height // width))
    return base64.b64encode(images.encode(small, 70)).decode()


def _late() -> None:
    _write(Answer(ok=False, kind="timeout", reason="no picture came in time; is the camera on?"))


def _write(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
