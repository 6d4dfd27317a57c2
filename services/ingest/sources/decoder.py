"""Video by PyAV: opens a container with limits, turns its packets into pictures, tells trouble in plain words."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, cast

import av
import av.error
import av.logging

from services.ingest.sources.port import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from services.ingest.sources.port import Opening, Trouble

_LOGIN = re.compile(r"//[^/\s'\"]*@")
_REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
_AWAY = (
    av.error.ConnectionRefusedError,
    av.error.ConnectionResetError,
    av.error.ConnectionAbortedError,
    av.error.BrokenPipeError,
    av.error.HTTPServerError,
    av.error.HTTPNotFoundError,
)
_LATE = (av.error.TimeoutError, av.error.ExitError)


class Decoder:
    """The video stream of an opened container.

    `patience` is how many seconds may pass in which data comes but no picture can be made of it.
    """

    def __init__(self, container: InputContainer, opening: Opening, *, patience: float) -> None:
        self._container = container
        self._stream = _video(container)
        self._opening = opening
        self._patience = patience
        # Logged by libav otherwise, with the URL in it.
        av.logging.set_level(None)
        context = self._stream.codec_context
        context.thread_count = opening.threads
        context.thread_type = "SLICE" if opening.threads == 1 else "AUTO"
        self.codec = context.name
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self._check_size(context.width, context.height)

    def frames(self) -> Iterator[VideoFrame]:
        """Every whole picture, in the order of showing.

        Raises:
            SourceError: cut off, timed out, over the limit, or nothing can be decoded.
        """
        seen = time.monotonic()
        made = 0
        try:
            for packet in self._container.demux(self._stream):
                for frame in self._decoded(packet):
                    self._check_size(frame.width, frame.height)
                    seen = time.monotonic()
                    made += 1
                    yield frame
                if time.monotonic() - seen > self._patience:
                    raise SourceError(
                        "undecodable", "data arrives but no picture can be made of it"
                    )
        except av.error.FFmpegError as error:
            raise trouble(error, "interrupted") from None
        if not made:
            raise SourceError("undecodable", "it ends without a picture that can be decoded")

    def offset(self, frame: VideoFrame, first: int) -> int | None:
        """Microseconds between the time stamp `first` and this frame's; None where it carries none."""
        if frame.pts is None or frame.time_base is None:
            return None
        return (
            (frame.pts - first)
            * 1_000_000
            * frame.time_base.numerator
            // frame.time_base.denominator
        )

    def rewind(self) -> None:
        """Go back to the start."""
        try:
            self._container.seek(0)
        except av.error.FFmpegError as error:
            raise trouble(error, "interrupted") from None

    def close(self) -> None:
        """Close the container."""
        self._container.close()

    def _decoded(self, packet: av.Packet[VideoStream]) -> list[VideoFrame]:
        try:
            frames = packet.decode()
        except (av.error.InvalidDataError, av.error.PatchWelcomeError):
            return []
        return [frame for frame in frames if not frame.is_corrupt]

    def _check_size(self, width: int, height: int) -> None:
        limit = self._opening.max_pixels
        if width * height > limit:
            reason = f"a picture has {width}x{height} pixels; at most {limit} in all are read"
            raise SourceError("unreadable", reason)


def open_container(opening: Opening, options: dict[str, str], url: str) -> InputContainer:
    """Open for reading, with timeouts.

    Raises:
        SourceError: it cannot be reached or read; the reason carries no password.
    """
    try:
        container = av.open(
            url, options=options, timeout=(opening.open_timeout, opening.read_timeout)
        )
    except av.error.FFmpegError as error:
        raise trouble(error, "unreachable") from None
    return container


def trouble(error: av.error.FFmpegError, otherwise: Trouble) -> SourceError:
    """Say what went wrong in plain words."""
    if isinstance(error, _REFUSED):
        return SourceError("auth", "the camera refused the login; check user and password")
    if isinstance(error, _LATE):
        return SourceError("timeout", "no answer in time; is the camera on and the address right?")
    if isinstance(error, _AWAY):
        return SourceError("unreachable", f"the camera cannot be reached: {error.strerror}")
    if isinstance(error, av.error.InvalidDataError):
        return SourceError(
            "undecodable", "it cannot be read as video: the data is not in a known format"
        )
    said = _LOGIN.sub("//", str(error.strerror or "unknown error"))
    return SourceError(otherwise, f"it cannot be read: {said}")


def unpack(frame: VideoFrame) -> Callable[[], NDArray[np.uint8]]:
    """A frame's pixels as uint8 BGR, worked out when asked for."""
    return lambda: cast("NDArray[np.uint8]", frame.to_ndarray(format="bgr24"))


def _video(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        container.close()
        raise SourceError("unreadable", "there is no video in it")
    stream = container.streams.video[0]
    context: object = (
        stream.codec_context
    )  # None where libav knows no decoder, whatever its types say
    if context is None:
        container.close()
        raise SourceError("unreadable", "its video codec is not supported")
    return stream
