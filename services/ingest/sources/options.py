"""How a local source is played, for readers: what is wrong with its URL is a source's trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.ingest.sources.port import SourceError
from shared.errors import Invalid
from shared.playing import parse

if TYPE_CHECKING:
    from shared.playing import Playing


def playing(url: str, *, rated: bool = False) -> Playing:
    """Read `file:///path?loop=1&rate=max`; with `rated` also `fps`.

    Raises:
        SourceError: an unknown option or value, a host in front of the path, or no path.
    """
    try:
        return parse(url, rated=rated)
    except Invalid as error:
        raise SourceError("unreadable", str(error)) from None
