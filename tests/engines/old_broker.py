"""A server that tells its protocol versions as Apache Kafka 1.1 does, and answers nothing else.

Kafka 1.1 itself needs ZooKeeper and Java 8, which these machines do not have; what is tested is only what we make of
its first answer, whose ranges are those of its protocol guide.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

VERSIONS = {
    0: (0, 5),
    1: (0, 7),
    3: (0, 5),
    11: (0, 2),
    18: (0, 1),
    19: (0, 2),
    22: (0, 0),
    32: (0, 1),
}


@asynccontextmanager
async def old_broker() -> AsyncIterator[str]:
    """Its URL."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield f"kafka://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            [size] = struct.unpack(">i", await reader.readexactly(4))
            key, _, correlation = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
            if key == 18:
                writer.write(_versions(correlation))
    except asyncio.IncompleteReadError:
        writer.close()


def _versions(correlation: int) -> bytes:
    """ApiVersions, version 0: error code, then key and range of each request."""
    ranges = [struct.pack(">hhh", key, *span) for key, span in VERSIONS.items()]
    body = struct.pack(">ihi", correlation, 0, len(ranges)) + b"".join(ranges)
    return struct.pack(">i", len(body)) + body
