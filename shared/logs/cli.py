"""`vantage logs`: what all processes on the data folder have logged, by time; and how much they log from now on."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.text import Text

from shared.client import listens, parsed
from shared.errors import Invalid, Setup
from shared.logs.files import LEVELS, Journal, Line, Wanted, since
from shared.settings import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.settings import PlatformSettings

POLL_S = 0.25
TIMEOUT_S = 10.0
STYLES = {"DEBUG": "dim", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_HEAD = ("timestamp", "level", "process", "instance", "event")

app = typer.Typer(invoke_without_command=True, help="What was logged, and how much is.")
DataDir = Annotated[Path | None, typer.Option(help="Where all data is kept.", show_default=False)]


@app.callback()
def logs(
    ctx: typer.Context,
    *,
    correlation: Annotated[
        str, typer.Option(help="Only what belongs to this frame, call or trace.", metavar="ID")
    ] = "",
    level: Annotated[str, typer.Option(help=f"At least this: {', '.join(LEVELS)}.")] = "DEBUG",
    begin: Annotated[
        str, typer.Option("--since", help="15m, 2h, 1d, or a time.", metavar="TIME")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    data_dir: DataDir = None,
) -> None:
    """What the processes on this data folder have logged, merged by time; JSON lines in a pipe."""
    if ctx.invoked_subcommand is not None:
        return
    settings = Configuration.read({"data_dir": data_dir}).platform()
    start = since(begin, datetime.now(UTC)) if begin else ""
    wanted = Wanted(correlation, _level(level), start)
    with Journal(settings.data_dir / "logs") as journal:
        _print(_lines(journal, wanted, follow=follow))


@app.command("level")
def set_level(
    level: Annotated[str, typer.Argument(help="DEBUG, INFO, WARNING or ERROR.")],
    service: Annotated[
        str, typer.Option(help="Only the process that runs this service.", metavar="NAME")
    ] = "",
    data_dir: DataDir = None,
) -> None:
    """Log more or less from now on, until the next restart: every process on this data folder, or one."""
    settings = Configuration.read({"data_dir": data_dir}).platform()
    wanted, changed = _level(level), 0
    for client in _clients(settings):
        with client:
            here = parsed(client.get("/log-level"))
            if service and service not in here["services"]:
                continue
            answer = parsed(client.put("/log-level", json={"level": wanted}))
            typer.echo(f"{', '.join(here['services'])}: {here['level']} -> {answer['level']}")
            changed += 1
    if not changed:
        which = f"that runs {service} " if service else ""
        raise Setup(f"no process {which}is running on the data folder {settings.data_dir}")


def _clients(settings: PlatformSettings) -> Iterator[httpx.Client]:
    """The processes of the data folder by their owner-only sockets; or the one that VANTAGE_URL names."""
    if settings.url is not None:
        token = settings.token.get_secret_value() if settings.token else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        yield httpx.Client(base_url=settings.url, headers=headers, timeout=TIMEOUT_S)
        return
    for path in sorted((settings.data_dir / "run").glob("*.sock")):
        if listens(path):
            transport = httpx.HTTPTransport(uds=str(path))
            yield httpx.Client(
                transport=transport, base_url="http://vantage", timeout=TIMEOUT_S, trust_env=False
            )


def _level(text: str) -> str:
    if text.upper() not in LEVELS:
        raise Invalid(f"--level {text!r} is unknown; use one of {', '.join(LEVELS)}", field="level")
    return text.upper()


def _lines(journal: Journal, wanted: Wanted, *, follow: bool) -> Iterator[Line]:
    yield from journal.read(wanted)
    while follow:
        sys.stdout.flush()
        time.sleep(POLL_S)
        yield from journal.more(wanted)


def _print(lines: Iterable[Line]) -> None:
    """In colours on a terminal; as they were written in a file or a pipe, where programs read them."""
    console = Console(highlight=False) if sys.stdout.isatty() else None
    try:
        for line in lines:
            if console is None:
                sys.stdout.write(f"{line.text}\n")
            else:
                console.print(_shown(line.data), soft_wrap=True)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # `vantage logs | head`: what is left is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(data: dict[str, Any]) -> Text:
    level = str(data.get("level", "")).upper()
    text = Text(f"{data.get('timestamp', '')} ", style="dim")
    text.append(f"{level:8}", style=STYLES.get(level, ""))
    text.append(f" {data.get('process', '')} ", style="cyan")
    text.append(str(data.get("event", "")), style="bold")
    for name, value in data.items():
        if name not in _HEAD:
            text.append(f" {name}=", style="dim")
            text.append(str(value))
    return text
