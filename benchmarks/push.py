"""Many open pages on one server: how late a message arrives, and what pages that stop reading cost.

    python -m benchmarks.push [--pages N] [--seconds N] [--stalled N]

`vantage up` with a simulated camera at 5 pictures a second: each page gets at least five messages a second. Late is
from the moment at which the frame was captured, through detection and tracking, to the page. Then further pages ask
for pictures and never read: they are cut off at 256 unread messages, and the others must not notice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from benchmarks.figures import spread
from benchmarks.startup import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

YARD: dict[str, object] = {
    "name": "yard",
    "url": "sim://demo?fps=5&loop=1",
    "detect": {"backend": "scripted"},
}
LIVE = "ws://vantage/api/v1/live"
WARM_S = 5.0
CUT_S = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=180)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--stalled", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Server(folder) as server:
            server.add(YARD)
            asyncio.run(_measure(folder, server, options))


async def _measure(folder: Path, server: Server, options: argparse.Namespace) -> None:
    process = psutil.Process(server.pid)
    late: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.sleep(WARM_S)
        before = process.memory_info().rss
        pages = [await stack.enter_async_context(_page(folder)) for _ in range(options.pages)]
        readers = [asyncio.create_task(_read(page, late)) for page in pages]
        await asyncio.sleep(WARM_S)
        late.clear()
        await asyncio.sleep(options.seconds)
        grown = (process.memory_info().rss - before) / 1e6
        rate = len(late) / options.pages / options.seconds
        print(f"{options.pages} pages, {rate:.1f} messages a second each; {grown:.1f} MB more")
        print(f"late, milliseconds: {_spread(late)}")
        late.clear()
        await _stall(folder, options.pages, options.stalled, process)
        print(f"the others meanwhile: {_spread(late)}")
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


def _page(folder: Path) -> connect:
    return unix_connect(str(folder / "run" / "api.sock"), LIVE, max_size=None, compression=None)


async def _read(page: ClientConnection, late: list[float]) -> None:
    await page.send(json.dumps({"type": "watch", "cameras": []}))
    async for message in page:
        if isinstance(message, str):
            told = json.loads(message)
            if told["type"] == "tracks":
                late.append(time.time() * 1000 - told["captured_at"] / 1000)


async def _stall(folder: Path, pages: int, count: int, process: psutil.Process) -> None:
    """Pages that ask for pictures and never read: how long until all are cut off, and what they cost at most."""
    before = most = process.memory_info().rss
    began = time.monotonic()
    silent = [await _page(folder) for _ in range(count)]
    for page in silent:
        await page.send(json.dumps({"type": "watch", "cameras": None}))
        page.transport.pause_reading()
    left = count
    while left > 0 and time.monotonic() - began < CUT_S:
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(1.0)
        left = await _open(folder) - pages
    print(
        f"{count} pages that stop reading: {count - max(0, left)} cut off after"
        f" {time.monotonic() - began:.0f} s, at most {(most - before) / 1e6:.1f} MB more"
    )
    for page in silent:
        page.transport.abort()


async def _open(folder: Path) -> int:
    """How many pages the server says are open."""
    transport = httpx.AsyncHTTPTransport(uds=str(folder / "run" / "api.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://vantage") as client:
        report = (await client.get("/health")).json()
    return int(report["details"]["services"]["dashboard"]["checks"]["pages"]["details"]["open"])


def _spread(values: Sequence[float]) -> str:
    median, p95, worst = spread(values)
    return f"median {median:.0f}, p95 {p95:.0f}, worst {worst:.0f}"


if __name__ == "__main__":
    main()
