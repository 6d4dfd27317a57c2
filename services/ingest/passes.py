"""One pass of one camera in its reader: thin out, burn masks in, find motion, put pictures into the ring."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from services.ingest.masks import Masks
from services.ingest.motion import Motion
from services.ingest.ring import Ring, make_file
from services.ingest.sampling import Sampler
from services.ingest.wire import Adjust, Open, Opened, Passed, Shown

if TYPE_CHECKING:
    from services.ingest.sources.port import Pixels, Shot, Source

SLOTS = 4
PASSED_EVERY = 400_000
"""Microseconds of the stream's time after which a camera that sends nothing on says that it still reads."""


class Pass:
    """Pictures of one size from `first` on; its offsets begin at 0 there."""

    def __init__(self, run: int, source: Source, picture: Pixels, first: Shot) -> None:
        self._run = run
        self._source = source
        self._base = first.offset
        self._position = first.position
        self._height, self._width = picture.shape[:2]
        self.file = make_file(self._width, self._height, SLOTS)
        self.ring = Ring(self.file, self._width, self._height, SLOTS)
        self._settings: Open | Adjust | None = None
        self._read = self._dropped = 0
        self._said = 0
        self._first_at = time.monotonic_ns() // 1000

    def fits(self, picture: Pixels) -> bool:
        """Whether the picture has this pass's size."""
        return picture.shape[:2] == (self._height, self._width)

    def follow(self, settings: Open | Adjust) -> None:
        """Use these masks and this rate from now on."""
        if settings is self._settings:
            return
        before, self._settings = self._settings, settings
        self._sampler = Sampler(settings.rate, self._source.fps)
        self._masks = Masks(settings.privacy, self._width, self._height)
        if before is None or (before.still, before.privacy) != (settings.still, settings.privacy):
            self._motion = Motion(self._width, self._height, (*settings.still, *self._source.still))

    def due(self, shot: Shot) -> bool:
        """Whether this shot is to be sent on; counts it as read."""
        self._read += 1
        return self._sampler.take(shot.offset - self._base)

    def drop(self) -> None:
        """Count a picture that was due and could not be sent on."""
        self._dropped += 1

    def opened(self) -> Opened:
        """The message that begins the pass."""
        return Opened(
            run=self._run,
            width=self._width,
            height=self._height,
            fps=round(self._source.fps, 3),
            period=self._sampler.period,
            codec=self._source.codec,
            live=self._source.live,
            slots=SLOTS,
            position=self._position,
            first_at=self._first_at,
        )

    def handed_over(self) -> None:
        """The service has its own hold on the memory: this one is no longer needed."""
        os.close(self.file)

    def shown(self, shot: Shot, picture: Pixels) -> Shown:
        """Mask the picture, look for motion, put it into the ring. Only where the ring has room."""
        offset = self._said = shot.offset - self._base
        self._masks.burn(picture)
        motion = self._motion.update(picture, offset)
        return Shown(
            run=self._run,
            slot=self.ring.put(picture),
            offset=offset,
            position=shot.position,
            motion=motion,
            live=self._source.live,
            read=self._read,
            dropped=self._dropped,
        )

    def passed(self, shot: Shot) -> Passed | None:
        """What to say about a shot that is not sent on; mostly nothing."""
        offset = shot.offset - self._base
        if offset - self._said < PASSED_EVERY:
            return None
        self._said = offset
        return Passed(
            run=self._run,
            offset=offset,
            position=shot.position,
            read=self._read,
            dropped=self._dropped,
        )
