"""A TCP proxy that does what bad networks do: latency, resets, a trickle, a black hole, refusals. Seeded.

In a test it lives in a thread of its own, so that a blocked loop of the test does not mend or break a link:

    with FaultProxy("127.0.0.1", broker.port, seed=7) as link:
        link.set(latency_s=0.2, jitter_s=0.05)
        ...
        link.heal()

By hand: `python -m tests.chaos.proxy --to 127.0.0.1:9092 --listen 19092 --latency 0.2 --resets 0.05`.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self
from weakref import WeakSet

PIECE = 65_536  # bytes read at once
TICK_S = 0.05  # how often a trickle gives a piece


@dataclasses.dataclass(frozen=True)
class Faults:
    """What the link does to bytes, in both directions, until told otherwise."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    resets: float = 0.0  # the chance that a piece ends its connection with a reset
    bytes_per_s: int = 0  # of each direction of each connection; 0: as fast as it goes
    black_hole: bool = False  # connections stand and nothing passes
    refused: bool = False  # new connections are reset at once


class FaultProxy:
    """Passes connections on to one address. `seed` decides every random choice, connection by connection."""

    def __init__(self, host: str, port: int, *, seed: int = 7, listen: int = 0) -> None:
        self._target = host, port
        self._seed = seed
        self._faults = Faults()
        self._links: set[_Link] = set()
        # Links that are over may still flush: their transports are known until they are gone.
        self.transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self._made = 0
        self._listening = socket.create_server(("127.0.0.1", listen))
        self.port = int(self._listening.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where clients connect to, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def faults(self) -> Faults:
        """What the link does now."""
        return self._faults

    @property
    def connections(self) -> int:
        """How many stand now."""
        return len(self._links)

    def set(self, **faults: float) -> None:
        """Replace what the link does; names are those of `Faults`. Connections that stand are affected too."""
        self._faults = Faults(**faults)  # type: ignore[arg-type]  # by name: numbers and flags
        self._call(self._tell)

    def heal(self) -> None:
        """Pass everything on again."""
        self.set()

    def cut(self) -> None:
        """Reset every connection that stands."""
        self._call(self._cut)

    def close(self) -> None:
        """End it."""
        if self._thread.is_alive():
            self._call(self._loop.stop)
            self._thread.join()

    def _call(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(
                asyncio.start_server(self._serve, sock=self._listening, limit=PIECE)
            )
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()
            self._listening.close()

    async def _end(self) -> None:
        for transport in tuple(self.transports):
            transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connections are closed in the loop's next round

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._made += 1
        link = _Link(self, reader, writer, random.Random(f"{self._seed}/{self._made}"))
        self._links.add(link)
        self.transports.add(writer.transport)
        try:
            if self._faults.refused:
                link.reset()
            else:
                await link.run(*self._target)
        finally:
            self._links.discard(link)

    def _tell(self) -> None:
        for link in self._links:
            link.changed.set()

    def _cut(self) -> None:
        for link in tuple(self._links):
            link.reset()


class _Link:
    """One connection and the one behind it."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        chance: random.Random,
    ) -> None:
        self.changed = asyncio.Event()
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._chance = chance

    async def run(self, host: str, port: int) -> None:
        """Carry bytes both ways until either side is done."""
        await self._not_in_the_hole()
        try:
            back, forth = await asyncio.open_connection(host, port, limit=PIECE)
        except OSError:
            self.reset()
            return
        front = self._writers[0]
        self._writers.append(forth)
        self._proxy.transports.add(forth.transport)
        pumps = [
            asyncio.create_task(self._pump(self._reader, forth)),
            asyncio.create_task(self._pump(back, front)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in self._writers:
                writer.close()  # before the wait, which another cancellation may end
            await asyncio.gather(*pumps, return_exceptions=True)

    def reset(self) -> None:
        """End both connections with an RST."""
        for writer in self._writers:
            bound: socket.socket | None = writer.get_extra_info("socket")
            if bound is not None and bound.fileno() >= 0:
                with contextlib.suppress(OSError):
                    bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A delay line: pieces leave in order, each at its own time, so that latency costs no throughput."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        leaving = asyncio.create_task(self._leave(line, writer))
        try:
            while True:
                piece = await reader.read(PIECE)
                faults = self._proxy.faults
                if piece and self._chance.random() < faults.resets:
                    self.reset()
                    return
                late = faults.latency_s + self._chance.uniform(-1, 1) * faults.jitter_s
                await line.put((time.monotonic() + max(0.0, late), piece))
                if not piece:
                    await leaving
                    return
        except OSError:
            return
        finally:
            leaving.cancel()

    async def _leave(
        self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = await line.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not piece:
                    return
                await self._give(piece, writer)

    async def _give(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        while piece:
            await self._not_in_the_hole()
            rate = self._proxy.faults.bytes_per_s
            some = max(1, round(rate * TICK_S)) if rate else len(piece)
            writer.write(piece[:some])
            await writer.drain()
            piece = piece[some:]
            if rate:
                await asyncio.sleep(TICK_S)

    async def _not_in_the_hole(self) -> None:
        while self._proxy.faults.black_hole:
            self.changed.clear()
            await self.changed.wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, help="host:port")
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds")
    parser.add_argument("--resets", type=float, default=0.0, help="chance of each piece")
    parser.add_argument("--rate", type=int, default=0, help="bytes a second")
    parser.add_argument("--black-hole", action="store_true")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    with FaultProxy(host, int(port), seed=options.seed, listen=options.listen) as link:
        link.set(
            latency_s=options.latency,
            jitter_s=options.jitter,
            resets=options.resets,
            bytes_per_s=options.rate,
            black_hole=options.black_hole,
        )
        print(f"{link.address} -> {options.to}, seed {options.seed}")  # noqa: T201 -- a tool for people
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
