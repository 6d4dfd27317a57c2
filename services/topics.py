"""`vantage topics plan|apply`: what differs between our topics and the broker's, and putting it right."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from shared.platform import open_topics
from shared.settings import Configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.bus.topics import Difference
    from shared.settings import PlatformSettings

DIFFERS = 3
WIDE = 200  # columns where nobody looks: in a file or pipe no remedy is cut

app = typer.Typer(no_args_is_help=True)
topics = typer.Typer(no_args_is_help=True, help="The topics on the Kafka broker.")
app.add_typer(topics, name="topics")


@topics.command()
def plan() -> None:
    """Say what differs; change nothing. Exit code 3 where something does."""
    found = asyncio.run(_plan(Configuration.read().platform()))
    if not found:
        typer.echo("All topics are as they should be.")
        return
    _print(found)
    raise typer.Exit(DIFFERS)


@topics.command()
def apply() -> None:
    """Create what is missing and set configurations; never what would move keys or replicas.

    Exit code 3 where something is left to be done by hand.
    """
    before, left = asyncio.run(_apply(Configuration.read().platform()))
    for one in before:
        if one not in left:
            typer.echo(f"{one.topic}: {one.what} {one.found} -> {one.wanted}")
    if left:
        _print(left)
        raise typer.Exit(DIFFERS)
    typer.echo("All topics are as they should be.")


async def _plan(settings: PlatformSettings) -> Sequence[Difference]:
    async with open_topics(settings) as there:
        return await there.plan()


async def _apply(
    settings: PlatformSettings,
) -> tuple[Sequence[Difference], Sequence[Difference]]:
    async with open_topics(settings) as there:
        before = await there.plan()
        await there.apply(before)
        return before, await there.plan()


def _print(found: Sequence[Difference]) -> None:
    table = Table("topic", "what", "found", "wanted", "how", "remedy", box=None, pad_edge=False)
    for one in found:
        table.add_row(one.topic, one.what, one.found, one.wanted, one.how, one.remedy)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table, highlight=False, markup=False)
