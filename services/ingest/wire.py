"""What the service and its reader processes say to each other, over one socket: length, then msgpack.

The socket is the reader's standard input, so that a URL with its password never stands in an argument list.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from schemas.event import Box
from services.ingest.sources.port import Opening, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Polygons: TypeAlias = tuple[tuple[tuple[float, float], ...], ...]

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 16
_MOST_FDS = 16


class Open(msgspec.Struct, frozen=True, tag=True):
    """Read this camera. `run` names this reading in every answer."""

    run: int
    opening: Opening
    rate: float
    privacy: Polygons = ()
    still: Polygons = ()  # where motion does not count


class Adjust(msgspec.Struct, frozen=True, tag=True):
    """Go on reading, with these settings from now on."""

    run: int
    rate: float
    privacy: Polygons
    still: Polygons


class Close(msgspec.Struct, frozen=True, tag=True):
    """Stop reading."""

    run: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """A pass begins: the first picture is there. The ring's memory comes along with this message."""

    run: int
    width: int
    height: int
    fps: float
    period: int  # microseconds between pictures sent on
    codec: str
    live: bool
    slots: int
    position: int  # of the first picture
    first_at: int  # this host's monotonic clock at the first picture, microseconds


class Shown(msgspec.Struct, frozen=True, tag=True):
    """A picture lies in a slot of the ring. `read` and `dropped` count pictures of this pass."""

    run: int
    slot: int
    offset: int
    position: int
    motion: tuple[Box, ...]
    live: bool
    read: int
    dropped: int


class Passed(msgspec.Struct, frozen=True, tag=True):
    """Pictures were read up to this offset, none of them was due to be sent on."""

    run: int
    offset: int
    position: int
    read: int
    dropped: int


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The source ended by itself."""

    run: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The source cannot be read (any more)."""

    run: int
    kind: Trouble
    reason: str


Command: TypeAlias = Open | Adjust | Close
Report: TypeAlias = Opened | Shown | Passed | Ended | Failed

_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS = msgspec.msgpack.Decoder(Command)
_REPORTS = msgspec.msgpack.Decoder(Report)


def send(to: socket.socket, message: Command | Report, fds: Sequence[int] = ()) -> None:
    """Send one message, with open files where it carries memory. One thread at a time.

    Raises:
        OSError: the other side is gone.
    """
    data = _ENCODER.encode(message)
    whole = memoryview(_LENGTH.pack(len(data)) + data)
    sent = socket.send_fds(to, [whole], list(fds)) if fds else to.send(whole)
    if sent < len(whole):
        to.sendall(whole[sent:])


def commands(source: socket.socket) -> Iterator[Command]:
    """Commands until the service is gone."""
    buffer = bytearray()
    while chunk := source.recv(_CHUNK):
        buffer += chunk
        for data in _whole(buffer):
            yield _COMMANDS.decode(data)


def reports(source: socket.socket) -> Iterator[tuple[Report, int | None]]:
    """Reports until the reader is gone; with each `Opened` the open file of its memory, the caller's to close."""
    buffer = bytearray()
    files: list[int] = []
    while True:
        chunk, fds, _, _ = socket.recv_fds(source, _CHUNK, _MOST_FDS)
        files.extend(fds)
        if not chunk:
            return
        buffer += chunk
        for data in _whole(buffer):
            report = _REPORTS.decode(data)
            yield report, files.pop(0) if isinstance(report, Opened) else None


def _whole(buffer: bytearray) -> Iterator[bytes]:
    """Cut complete messages off the front of the buffer."""
    while len(buffer) >= _LENGTH.size:
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return
        data = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        yield data
