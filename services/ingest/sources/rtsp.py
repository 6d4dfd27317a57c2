"""Cameras over RTSP, by TCP, without buffering: `rtsp(s)://host/path`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.ingest.sources.decoder import Decoder, open_container, unpack
from services.ingest.sources.port import Shot, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.ingest.sources.port import Opening

# Nothing that a camera answers may make the reader open another kind of thing.
PROTOCOLS = "rtsp,rtsps,rtp,rtcp,srtp,tcp,udp,tls"
OPTIONS = {
    "protocol_whitelist": PROTOCOLS,
    "rtsp_transport": "tcp",
    "allowed_media_types": "video",
    "fflags": "nobuffer",
    "flags": "low_delay",
    "probesize": "32768",
    "analyzeduration": "0",
}


def open_source(opening: Opening) -> RtspSource:
    """Connect to a camera.

    Raises:
        SourceError: it cannot be reached, refuses the login, or sends no video.
    """
    container = open_container(opening, OPTIONS, opening.url)
    return RtspSource(Decoder(container, opening, patience=opening.read_timeout))


class RtspSource:
    """A camera's stream. Offsets are this host's monotonic time of receipt: a camera's own clock is only data."""

    live = True
    still = ()
    paced = False

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.codec = decoder.codec
        self.fps = decoder.fps

    def shots(self) -> Iterator[Shot]:
        """The pictures as they arrive."""
        began = None
        last = -1
        for frame in self._decoder.frames():
            now = time.monotonic_ns() // 1000
            begins = began is None
            began = now if began is None else began
            last = max(last + 1, now - began)
            yield Shot(last, last, begins, unpack(frame))
        raise SourceError("interrupted", "the camera closed the connection")

    def close(self) -> None:
        """Hang up."""
        self._decoder.close()
