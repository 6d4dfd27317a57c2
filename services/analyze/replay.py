"""`vantage replay`: a group hears again what it heard before, or the pure stages run once more into files."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from schemas.topics import DETECTIONS, TOPICS
from services.analyze.recompute import Counts, Part, start_of, write
from services.analyze.results import drafts
from shared.bus.reading import spans
from shared.client import Api, connector_of
from shared.errors import Invalid, NotFound
from shared.times import parse_time

if TYPE_CHECKING:
    from services.orchestrator.knowledge import Knowledge

app = typer.Typer()
Text = Annotated[str | None, typer.Option(show_default=False)]
Cameras = Annotated[
    list[str] | None,
    typer.Option(
        help="Of these alone, and of rules over several cameras that ask them: those need their other cameras, "
        "which are heard along.",
        show_default=False,
    ),
]


@app.command("replay")
def replay(
    ctx: typer.Context,
    *,
    group: Annotated[str | None, typer.Option(help="Whose events.", show_default=False)] = None,
    topic: Text = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", help="A time in RFC 3339; of a group also an offset.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="A time in RFC 3339.", show_default=False)
    ] = None,
    camera: Cameras = None,
    recompute: Annotated[bool, typer.Option(help="Into files, without effects.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be heard again.")] = False,
    yes: Annotated[bool, typer.Option(help="Do not ask.")] = False,
) -> None:
    """Events once more, under their ids: to a group (what was applied stays applied once), or into files."""
    if recompute == (group is not None):
        raise Invalid("name either --group GROUP, or --recompute with --out FOLDER")
    if recompute:
        _check_topic(topic)
        _recompute(_part(since, until, camera or ()), out)
        return
    if until is not None or camera or out is not None:
        raise Invalid(
            "--to, --camera and --out belong to --recompute: a group that goes back hears all that follows, "
            "in order"
        )
    _rewind(ctx, group or "", {"topic": topic, "from": since}, dry=dry_run, yes=yes)


def _rewind(
    ctx: typer.Context, group: str, place: dict[str, str | None], *, dry: bool, yes: bool
) -> None:
    body = {name: value for name, value in place.items() if value is not None}
    with connector_of(ctx).processes(group.partition("-")[0]) as apis:
        members = _members(apis, group, place["topic"])
        counted = sum(_go_back(one, {**body, "dry_run": True}, tell=True) for one in members)
        if dry or not counted:
            typer.echo(
                f"{counted} records would be heard again" if counted else "nothing to hear again"
            )
            return
        if not yes:
            typer.confirm(f"Let {group} hear {counted} records again?", abort=True)
        again = sum(_go_back(one, body, tell=False) for one in members)
    typer.echo(f"{group} hears {again} records again")


def _members(apis: list[Api], group: str, topic: str | None) -> list[tuple[Api, str]]:
    """Each process's consumer of the group."""
    found = [(api, one) for api in apis for one in api.get("/consumers")["items"]]
    wanted = [
        (api, one["name"])
        for api, one in found
        if one["group"] == group and (topic is None or topic in one["topics"])
    ]
    if not wanted:
        groups = ", ".join(sorted({one["group"] for _, one in found if one["kind"] == "group"}))
        raise NotFound(f"no process here reads {topic or 'anything'} as {group}; groups: {groups}")
    return wanted


def _go_back(member: tuple[Api, str], body: dict[str, Any], *, tell: bool) -> int:
    api, name = member
    answer = api.post(f"/consumers/{name}/rewind", body)
    for one in answer["partitions"] if tell else ():
        typer.echo(f"{one['topic']}/{one['partition']}: from {one['from']} to {one['to']}")
    return int(answer["again"])


def _check_topic(topic: str | None) -> None:
    kinds = {one.name: one.kind for one in TOPICS}
    if topic is not None and kinds.get(topic) == "ephemeral":
        raise Invalid(f"topic: {topic} is ephemeral: what was dropped cannot be computed again")
    if topic not in (None, DETECTIONS.name):
        raise Invalid(
            f"topic: {topic} is no input of a recomputation; all follows from {DETECTIONS.name}"
        )


def _part(since: str | None, until: str | None, cameras: Iterable[str]) -> Part:
    part = Part(
        since=parse_time("from", since), until=parse_time("to", until), cameras=frozenset(cameras)
    )
    if part.since is not None and part.until is not None and part.since >= part.until:
        raise Invalid(f"to: {until} is not after --from {since}; name a later time", field="to")
    return part


def _recompute(part: Part, out: Path | None) -> None:
    if out is None:
        raise Invalid("out: name the folder for the files", field="out")
    from shared.platform import embedded
    from shared.runtime.lock import lock_folder
    from shared.settings import Configuration

    settings = Configuration.read().platform()
    with (
        lock_folder(settings.data_dir, ["replay"], alone=embedded(settings)),
        drafts(out) as folder,
    ):
        counts = asyncio.run(_written(settings, part, folder))
    typer.echo(
        f"{counts.events} events, {counts.incidents} incidents, {counts.bad} bad, written to {out}"
    )
    if counts.along:
        typer.echo(
            f"heard along for rules over several cameras: {', '.join(sorted(counts.along))}; "
            "what single cameras' rules say there is not written"
        )


async def _written(settings: Any, part: Part, folder: Path) -> Counts:  # noqa: ANN401 - settings come lazily
    from services.orchestrator.service import SERVICE, remember
    from shared.clock import SystemClock
    from shared.metrics import Metrics
    from shared.peers import Peers
    from shared.platform import open_platform, open_service

    clock = SystemClock()
    async with (
        open_platform(settings, Metrics(), clock, Peers(settings, clock)) as platform,
        open_service(platform, SERVICE) as orchestrator,
    ):
        knowledge = await remember(orchestrator.database)
        _check_cameras(part, knowledge)
        total = await _total(platform.log, part)
        with _progress(total) as advance:
            return await write(platform.log, knowledge, part, folder, advance)


def _check_cameras(part: Part, knowledge: "Knowledge") -> None:
    known = knowledge.cameras.names
    unknown = sorted(part.cameras - set(known))
    if unknown:
        there = ", ".join(sorted(known)) or "none"
        raise Invalid(
            f"camera: there is no camera {unknown[0]!r}; cameras here: {there}", field="camera"
        )


async def _total(log: Any, part: Part) -> int:  # noqa: ANN401 - a Log
    kept = await spans(log, [DETECTIONS])
    starts = await start_of(log, part) or {}
    return sum(end - max(first, starts.get(one, 0)) for one, (first, end) in kept.items())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("records", total=total)
        yield lambda read: progress.update(task, completed=read)
