"""A slow line: bytes arrive `delay` seconds late, both ways, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def slow_line(port: int, *, delay: float) -> AsyncIterator[int]:
    """A port of the loopback interface that leads to `port`. When it ends every line is cut."""
    lines: set[asyncio.Task[None]] = set()
    ends: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ends.append(back)
        await asyncio.gather(_carry(reader, back, delay), _carry(there, writer, delay))

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        lines.add(task)
        task.add_done_callback(lines.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)  # what was just accepted begins
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        for end in ends:
            end.transport.abort()
        await asyncio.sleep(0)  # and is closed in the loop's next round


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()
