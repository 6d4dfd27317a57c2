"""The simulated yard: `sim://demo?seed=7&fps=5&size=640x360&duration=60&loop=0&resume=0&rate=max`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.ingest.sources.port import Shot, SourceError
from shared.errors import Invalid
from shared.sim.address import SimAddress, parse
from shared.sim.renderer import Renderer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.ingest.sources.port import Opening


def open_source(opening: Opening) -> SimSource:
    """Set up the yard. With `resume=1` it goes on at `opening.start`.

    Raises:
        SourceError: the URL is not one of the yard's.
    """
    try:
        address = parse(opening.url)
    except Invalid as error:
        raise SourceError("unreadable", str(error)) from None
    return SimSource(address, opening.start if address.resume else 0)


class SimSource:
    """The yard as a film: picture n of the whole scene is shown at n / fps seconds, wherever a pass begins."""

    live = False
    codec = "sim"

    def __init__(self, address: SimAddress, start: int) -> None:
        scene = address.scene()
        self._renderer = Renderer(scene, address.width, address.height)
        self._duration = scene.duration
        self._start = start
        self._loop = address.loop
        self.fps = address.fps
        self.paced = not address.unpaced
        self.still = self._renderer.written

    def shots(self) -> Iterator[Shot]:
        """Its pictures; with `loop` pass after pass without end."""
        start = self._start % self._duration if self._loop else self._start
        while True:
            yield from self._one_pass(start)
            if not self._loop:
                return
            start = 0

    def close(self) -> None:
        """Nothing to let go of."""

    def _one_pass(self, start: int) -> Iterator[Shot]:
        number = first = -(-start * round(self.fps * 1000) // 1_000_000_000)
        while (position := self._position(number)) < self._duration:
            offset = position - self._position(first)
            yield Shot(offset, position, number == first, partial(self._renderer.draw, position))
            number += 1

    def _position(self, number: int) -> int:
        return number * 1_000_000_000 // round(self.fps * 1000)
