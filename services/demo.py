"""`vantage demo`: a simulated yard with its rules, and real video beside it where the test data is at hand.

With `--seconds` it ends by itself and holds what came out against the yard's ground truth.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.table import Table

from services.main import SERVICES, serve_here
from shared.errors import Unavailable, VantageError
from shared.sim.scene import SECOND, Scene
from shared.sim.truth import Expected, truth

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from shared.runtime.server import Listening

SEED, FPS, SCENE_S = 7, 5, 60
YARD, PLAZA = "simulated-yard", "plaza"
FILM, MODEL = "media/pets09-s2l1-300.mp4", "models/yolox_nano.onnx"
PATIENCE_S = 60.0
"""So long a slow machine may take for what usually takes a moment."""
TOLERANCE_S = 1.0
"""Looks are a fifth of a second apart, and a track needs a few of them."""
RULES_COUNT_FROM_S = 2.2

app = typer.Typer()


@app.command()
def demo(
    seconds: Annotated[
        int | None,
        typer.Option(min=8, max=3600, help="Play this long, compare, end.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="0 picks a free one.", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data there.", show_default=False)
    ] = None,
) -> None:
    """Show it all on a simulated yard; exit code 1 where it differs from the ground truth."""
    director = Director(seconds)
    with _folder(data_dir) as folder:
        options: dict[str, object] = {
            "port": port,
            "data_dir": folder,
            "webhook_nets": "127.0.0.0/8",  # the demo's own receiver
            "log_level": "WARNING",
        }
        serve_here(list(SERVICES), options, announce=director.begin)
    if seconds is not None and director.wrong != []:
        raise typer.Exit(1)


class Director:
    """Sets the stage once the server listens and, where asked, compares and ends it. `wrong` None: not compared."""

    def __init__(self, seconds: int | None) -> None:
        self.wrong: list[str] | None = None
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def begin(self, listening: Listening, notices: list[str]) -> None:
        """Called when the server listens, on its loop."""
        typer.echo(f"Vantage listens on {listening.url}")
        for notice in notices:
            typer.echo(notice)
        self._task = asyncio.create_task(self._direct(listening))
        self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            typer.echo(f"Error: the demo failed: {type(error).__name__} {error}", err=True)
            self.wrong = [str(error)]
        if error is not None or self._seconds is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    async def _direct(self, listening: Listening) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(listening.socket_path))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://demo", timeout=30) as client,
            receiving() as receiver,
        ):
            stage = Stage(client)
            await stage.until("the server to be ready", stage.ready)
            await stage.channel(receiver.url)
            await stage.yard(self._seconds)
            real = await stage.plaza()
            typer.echo(_programme(self._seconds, real))
            if self._seconds is None:
                await asyncio.Event().wait()
                return
            self.wrong = await _compare(stage, receiver, self._seconds)


class Stage:
    """The demo's cameras, rules and channel, through the API that everybody uses."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """One call.

        Raises:
            VantageError: it was not done; the text is the answer's.
        """
        answer = await self._client.request(method, f"/api/v1{path}", json=body)
        if not answer.is_success:
            raise VantageError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def every(self, path: str) -> list[dict[str, Any]]:
        """All items of a list, page after page."""
        items: list[dict[str, Any]] = []
        following = ""
        while True:
            page = await self.call(
                "GET", f"{path}{'&' if '?' in path else '?'}limit=500{following}"
            )
            items += page["items"]
            if page.get("next") is None:
                return items
            following = f"&cursor={page['next']}"

    async def ready(self) -> bool:
        """Whether everything runs."""
        return (await self._client.get("/ready")).status_code == 200

    async def until(
        self, what: str, holds: Callable[[], Awaitable[bool]], patience: float = PATIENCE_S
    ) -> None:
        """Wait for something.

        Raises:
            Unavailable: it did not come in time.
        """
        for _ in range(round(patience / 0.25)):
            if await holds():
                return
            await asyncio.sleep(0.25)
        raise Unavailable(f"waited {patience:g} s for {what}")

    async def channel(self, url: str) -> None:
        """A webhook that hears every alert."""
        await self.call("POST", "/channels", {"kind": "webhook", "name": "demo", "url": url})

    async def yard(self, seconds: int | None) -> None:
        """The simulated yard: its rules must count before its first picture, so it is switched on last."""
        scene = staged(seconds)
        length = scene.duration // SECOND
        loop = 1 if seconds is None else 0
        script = f"sim?seed={SEED}&duration={length}"
        camera = await self.call(
            "POST",
            "/cameras",
            {
                "name": "Simulated yard",
                "url": f"sim://demo?seed={SEED}&fps={FPS}&duration={length}&loop={loop}",
                "enabled": False,
                "zones": [
                    {"name": z.name, "points": [list(p) for p in z.points]} for z in scene.zones
                ],
                "lines": [{"name": n.name, "a": list(n.a), "b": list(n.b)} for n in scene.lines],
                "detect": {"backend": "scripted", "model": script, "rate": FPS},
            },
        )
        for document in scene.rules(camera["id"]):
            await self.call("POST", "/rules", {"document": document})
        await asyncio.sleep(RULES_COUNT_FROM_S)
        await self.call("PATCH", f"/cameras/{camera['id']}", {"enabled": True})

    async def plaza(self) -> bool:
        """Real video and a real detector, where they are at hand; says whether they are."""
        film, model = test_data() / FILM, test_data() / MODEL
        if not (film.is_file() and model.is_file()):
            return False
        zone = {"name": "crossing", "points": [[0.25, 0.35], [0.7, 0.3], [0.8, 0.75], [0.2, 0.8]]}
        await self.call(
            "POST",
            "/cameras",
            {
                "name": "Plaza",
                "url": f"{film.resolve().as_uri()}?loop=1",
                "zones": [zone],
                "detect": {"model": str(model.resolve()), "rate": 7.0},
            },
        )
        rule = {
            "id": f"{PLAZA}-crossing",
            "version": "1.0.0",
            "title": "Person on the crossing",
            "status": "stable",
            "level": "medium",
            "scope": {"cameras": [PLAZA]},
            "match": {"enter": {"class": "person", "zone": "crossing"}},
            "group_by": ["zone"],
            "cooldown": "30s",
        }
        await self.call("POST", "/rules", {"document": rule})
        return True

    async def status(self) -> dict[str, Any]:
        """The yard's state and figures."""
        states = (await self.call("GET", "/camera-status"))["items"]
        return next(state for state in states if state["camera"] == YARD)

    async def ended(self) -> bool:
        """Whether the yard has been played to its end."""
        return bool((await self.status())["state"] == "ended")


class Found(NamedTuple):
    """An incident as it came out: the rule without the camera, and scene time in microseconds."""

    rule: str
    at: int


def staged(seconds: int | None) -> Scene:
    """The scene of a demo of so many seconds; cut where no incident is just about to be or has just been."""
    if seconds is None:
        return Scene(seed=SEED, duration_s=SCENE_S)
    for length in range(seconds, max(5, seconds - 10), -1):
        whole = truth(Scene(seed=SEED, duration_s=max(length, 20) + 20))
        if all(abs(expected.at - length * SECOND) > 1.5 * SECOND for expected in whole):
            return Scene(seed=SEED, duration_s=length)
    return Scene(seed=SEED, duration_s=seconds)


def differences(expected: Sequence[Expected], found: Sequence[Found]) -> list[str]:
    """Where incidents differ from the ground truth, in plain words; each answers one, within a second."""
    wrong: list[str] = []
    for rule in sorted({one.rule for one in expected} | {one.rule for one in found}):
        left = sorted(one.at for one in found if one.rule == rule)
        for due in sorted(one.at for one in expected if one.rule == rule):
            near = [at for at in left if abs(at - due) <= TOLERANCE_S * SECOND]
            if near:
                left.remove(near[0])
            else:
                wrong.append(f"{rule}: nothing at {due / SECOND:.1f} s, where there should be")
        wrong += [f"{rule}: one at {at / SECOND:.1f} s that should not be" for at in left]
    return wrong


async def _compare(stage: Stage, receiver: Receiver, seconds: int) -> list[str]:
    """Wait for the end, then hold frames, incidents and deliveries against the ground truth."""
    scene = staged(seconds)
    await stage.until("the yard to end", stage.ended, seconds + PATIENCE_S)
    expected = truth(scene)
    wanted = len(expected)

    async def arrived() -> bool:
        return len(await _alerts(stage)) >= wanted and not await _underway(stage)

    try:
        await stage.until("the alerts", arrived, 20.0)
    except Unavailable:
        typer.echo("Not everything that was expected has come; comparing what there is.")
    await asyncio.sleep(1.0)  # for what should not come
    incidents = await stage.every(f"/incidents?camera={YARD}")
    found = [Found(row["rule"].removeprefix(f"{YARD}-"), _scene_time(row)) for row in incidents]
    wrong = differences(expected, found)
    frames, due = (await stage.status())["sent"], scene.duration * FPS // SECOND
    if frames != due:
        wrong.append(f"frames: {frames} of {due} were sent on")
    alerts = await _alerts(stage)
    delivered = {name: await _delivered(stage, name, alerts) for name in ("console", "demo")}
    wrong += _undelivered(alerts, delivered, receiver)
    rows = [
        ("frames", due, frames),
        ("incidents", wanted, len(found)),
        ("alerts", wanted, len(alerts)),
    ]
    rows += [(f"deliveries ({name})", wanted, len(ids)) for name, ids in delivered.items()]
    _print(rows, wrong, seconds=scene.duration // SECOND)
    return wrong


async def _alerts(stage: Stage) -> set[str]:
    return {row["alert"] for row in await stage.every(f"/alerts?camera={YARD}")}


async def _underway(stage: Stage) -> bool:
    states = Counter(row["state"] for row in await stage.every("/deliveries"))
    return bool(states["pending"] + states["retrying"])


async def _delivered(stage: Stage, channel: str, alerts: set[str]) -> dict[str, str]:
    """Delivery ids on a channel that were delivered, with their alerts."""
    channels = {row["name"]: row["id"] for row in (await stage.call("GET", "/channels"))["items"]}
    rows = await stage.every(f"/deliveries?channel={channels[channel]}&state=delivered")
    return {row["id"]: row["alert"] for row in rows if row["alert"] in alerts}


def _undelivered(
    alerts: set[str], delivered: dict[str, dict[str, str]], receiver: Receiver
) -> list[str]:
    wrong = []
    for name, ids in delivered.items():
        if sorted(ids.values()) != sorted(alerts):
            wrong.append(f"deliveries: {name} has {len(ids)} for {len(alerts)} alerts")
    missing = set(delivered["demo"]) - set(receiver.ids)
    if missing:
        wrong.append(f"deliveries: {len(missing)} never reached the receiver")
    return wrong


def _scene_time(row: dict[str, Any]) -> int:
    return (int(row["seq"]) - 1) * SECOND // FPS


def _print(rows: Sequence[tuple[str, int, int]], wrong: Sequence[str], *, seconds: int) -> None:
    table = Table("", "ground truth", "seen", box=None, title=f"Simulated yard, {seconds} s")
    for name, due, seen in rows:
        table.add_row(name, str(due), str(seen))
    console = Console()
    console.print(table, highlight=False, markup=False)
    for line in wrong:
        console.print(f"DIFFERS: {line}", highlight=False, markup=False)
    if not wrong:
        console.print("All as it should be.", highlight=False)


def _programme(seconds: int | None, real: bool) -> str:
    beside = " and real video with YOLOX-Nano" if real else ""
    until = "Ctrl-C ends it" if seconds is None else f"it ends by itself after {seconds} s"
    return f"Showing a simulated yard{beside}; {until}."


class Receiver:
    """A webhook receiver on this machine that takes everything; `ids` are those of what came."""

    def __init__(self) -> None:
        self.url = ""
        self.ids: list[str] = []

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Take one message."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            await reader.readexactly(int(fields.get("content-length", "0")))
            self.ids.append(fields.get("webhook-id", ""))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/alerts"
        yield receiver


def test_data() -> Path:
    """The folder of the test videos."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    return Path(os.environ.get("VANTAGE_TEST_DATA", beside))


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="vantage-demo-") as folder:
        yield Path(folder)
