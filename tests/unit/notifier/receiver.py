"""A webhook receiver that misbehaves as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Receiver:
    """A real HTTP server on loopback that answers as it is told and keeps what it got."""

    def __init__(self, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> None:
        self.answer = answer
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.hang = False
        self.endless = False
        self.reset = False
        self.url = ""
        self._serving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}/hook"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            raw = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append(({name.lower(): value for name, value in raw.items()}, body))
            await self._reply(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer went away, or the test is over
        finally:
            self._serving.discard(task)
            writer.transport.abort() if self.hang else writer.close()

    async def _reply(self, writer: asyncio.StreamWriter) -> None:
        if self.hang:
            await asyncio.sleep(30)
        if self.reset:
            writer.transport.abort()
            return
        writer.write(self.answer)
        for _ in range(2000 if self.endless else 0):
            writer.write(b"x" * 1024)
            await writer.drain()
        await writer.drain()
