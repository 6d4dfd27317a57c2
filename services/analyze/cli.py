"""`vantage analyze`."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from services.analyze.film import Film
from services.analyze.inputs import SITE_FIELDS, describe, know, open_detector, url_of
from services.analyze.overlay import Overlay
from services.analyze.results import Results, drafts
from services.analyze.stages import Stages
from services.analyze.watch import Watch
from services.ingest.sources import open_source
from services.ingest.sources.port import Opening, SourceError
from services.orchestrator.cli import parse_start
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.ingest.sources.port import Source

app = typer.Typer()


@app.command("analyze")
def analyze(
    source: Annotated[str, typer.Argument(help="A video, a folder of pictures, or sim://demo.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    model: Annotated[str, typer.Option(help="Detection model: an ONNX file.")] = "",
    backend: Annotated[str, typer.Option(help="Detector back-end; else the model says it.")] = "",
    threshold: Annotated[float | None, typer.Option(help="Least score, 0 to 1.")] = None,
    rules: Annotated[Path | None, typer.Option(help="YAML: a list of rules.")] = None,
    site: Annotated[Path | None, typer.Option(help=f"YAML: {', '.join(SITE_FIELDS)}.")] = None,
    every_frame: Annotated[bool, typer.Option(help="No sampling, no motion gate.")] = False,
    video: Annotated[bool, typer.Option(help="Also write annotated.mp4.")] = False,
    camera: Annotated[str, typer.Option(help="The camera's name in ids.")] = "source",
    epoch: Annotated[int, typer.Option(min=0, help="The stream's epoch in ids.")] = 1,
    start: Annotated[
        str, typer.Option(help="When the first frame was, RFC 3339.")
    ] = "1970-01-01T00:00:00Z",
) -> None:
    """Detections, tracks and incidents of a film, as the live stages find them."""
    detect: dict[str, object] = {"every_frame": True, "rate": 60.0} if every_frame else {}
    detect |= {"threshold": threshold} if threshold is not None else {}
    document = describe(camera, url_of(source), site, detect)
    knowledge = know(document, rules)
    began = parse_start(start)
    with closing(open_detector(document.detect, model, backend)) as detector, drafts(out) as folder:
        with _opened(document.url) as opened, _progress(document.url) as advance:
            watch = Watch()
            film = Film(opened, document, epoch=epoch, start=began, watch=watch)
            overlay = Overlay(folder / "annotated.mp4", document) if video else None
            with closing(Results(folder, film, overlay)) as results:
                stages = Stages(document, knowledge, detector, watch)
                asyncio.run(stages.play(film, results, advance))
        summary = results.summarise(source, detector.model.version)
    typer.echo(
        f"{summary['frames']} frames, {summary['frames_per_second']:.1f} a second: "
        f"{summary['detections']} detections, {summary['tracks']} tracks, "
        f"{summary['incidents']} incidents, written to {out}"
    )


@contextmanager
def _opened(url: str) -> Iterator[Source]:
    """The source of a URL, its trouble told in the words of the command."""
    try:
        with closing(open_source(Opening(url=url))) as source:
            yield source
    except SourceError as error:
        raise Invalid(f"source: {error.reason}", field="source") from error


@contextmanager
def _progress(url: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("frames", total=_length(url))
        yield lambda read: progress.update(task, completed=read)


def _length(url: str) -> int | None:
    """Pictures of a video by its header; None where it does not say or is no video."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    import av

    with av.open(unquote(parts.path)) as container:
        return container.streams.video[0].frames or None
