"""Where pictures come from, by URL scheme: to add a source, write a file and a line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from services.ingest.sources.port import SourceError

if TYPE_CHECKING:
    from services.ingest.sources.port import Opening, Source

SOURCES = {
    "file": "services.ingest.sources.file",
    "images": "services.ingest.sources.images",
    "rtsp": "services.ingest.sources.rtsp",
    "rtsps": "services.ingest.sources.rtsp",
    "sim": "services.ingest.sources.sim",
}


def open_source(opening: Opening) -> Source:
    """Open what a URL names; the module is loaded only now.

    Raises:
        SourceError: there is no such source, or it cannot be opened.
    """
    scheme = urlsplit(opening.url).scheme
    if scheme not in SOURCES:
        known = ", ".join(SOURCES)
        raise SourceError("unreadable", f"url: scheme {scheme!r} is not read here; use {known}")
    source: Source = importlib.import_module(SOURCES[scheme]).open_source(opening)
    return source
