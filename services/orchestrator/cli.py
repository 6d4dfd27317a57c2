"""`vantage rule`: documents in, their state out, and what they would have found."""

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from schemas.event import micros
from services.orchestrator.documents import read_documents
from services.orchestrator.replay import Film, replay, write_lines
from shared.client import connect
from shared.errors import Invalid
from shared.vision import mot

app = typer.Typer(no_args_is_help=True, help="Rules: add, check, test, replay.")

OWNER = "orchestrator"


@app.command("add")
def add_rule(ctx: typer.Context, file: Path) -> None:
    """Add the rules of a YAML file; those that are there already are changed."""
    documents = read_documents(file)
    with connect(ctx, OWNER) as api:
        there = {rule["id"] for rule in api.get("/api/v1/rules")["items"]}
        for document in documents:
            name = document.get("id") if isinstance(document, dict) else None
            body = {"document": document}
            if name in there:
                saved = api.put(f"/api/v1/rules/{name}", body)
            else:
                saved = api.post("/api/v1/rules", body)
            typer.echo(f"{saved['id']}: revision {saved['revision']}, {saved['effective_at']}")
            _print_problems("warning", saved["warnings"])


@app.command("list")
def list_rules(ctx: typer.Context) -> None:
    """All rules."""
    with connect(ctx, OWNER) as api:
        rules = api.get("/api/v1/rules")["items"]
    table = Table("id", "title", "level", "status", "cameras", "revision", "note", box=None)
    for one in rules:
        notes = [*one["problems"], *one["warnings"]]
        cameras = ", ".join(one["cameras"]) or "all"
        note = notes[0]["message"] if notes else ""
        table.add_row(
            one["id"], one["title"], one["level"], one["status"], cameras,
            str(one["revision"]), note,
        )  # fmt: skip
    Console().print(table, highlight=False, markup=False)


@app.command("show")
def show_rule(ctx: typer.Context, rule: str) -> None:
    """A rule's document as YAML, and its revisions."""
    with connect(ctx, OWNER) as api:
        shown = api.get(f"/api/v1/rules/{rule}")
        versions = api.get(f"/api/v1/rules/{rule}/versions")["items"]
    typer.echo(yaml.safe_dump(shown["document"], sort_keys=False, allow_unicode=True), nl=False)
    for one in versions:
        removed = " removed" if one["document"] is None else ""
        typer.echo(
            f"# revision {one['revision']}{removed}, version {one['rule_version']}, "
            f"from {one['effective_at']}, by {one['author']}, sha256 {one['rule_hash'][:12]}"
        )


@app.command("lint")
def lint_rules(ctx: typer.Context, file: Path) -> None:
    """Check a file of rules against the cameras there are; exit code 1 where something is wrong."""
    documents = read_documents(file)
    with connect(ctx, OWNER) as api:
        answer = api.post("/api/v1/rules/lint", {"documents": documents})
    _report(answer["results"])
    if not answer["ok"]:
        raise typer.Exit(1)


@app.command("test")
def test_rules(
    ctx: typer.Context,
    rule: Annotated[str, typer.Argument(help="A file of rules, or the id of a stored one.")],
) -> None:
    """Run inline tests; exit code 1 where one fails or cannot be run."""
    file = Path(rule)
    with connect(ctx, OWNER) as api:
        if file.exists():
            body = {"documents": read_documents(file)}
            results = api.post("/api/v1/rules/lint", body)["results"]
        else:
            results = [api.post(f"/api/v1/rules/{rule}/test")]
    passed = _report(results, tests=True)
    if not passed:
        raise typer.Exit(1)


@app.command("remove")
def remove_rule(ctx: typer.Context, rule: str) -> None:
    """Remove a rule; its revisions and incidents stay."""
    with connect(ctx, OWNER) as api:
        api.delete(f"/api/v1/rules/{rule}")
    typer.echo(f"{rule}: removed")


@app.command("replay")
def replay_tracks(
    tracks: Annotated[Path, typer.Option(help="Tracks in MOTChallenge text.")],
    size: Annotated[str, typer.Option(help="Frame size, e.g. 768x576.")],
    fps: Annotated[str, typer.Option(help="Frames a second, e.g. 7 or 30000/1001.")],
    rules: Annotated[Path, typer.Option(help="A YAML list of rules with their defs.")],
    out: Annotated[Path, typer.Option(help="Where the incidents go, one JSON object a line.")],
    start: Annotated[
        str, typer.Option(help="When frame 1 was, RFC 3339.")
    ] = "1970-01-01T00:00:00Z",
    camera: Annotated[str, typer.Option(help="Name of the camera in the output.")] = "source",
    time_zone: Annotated[str, typer.Option(help="The site's time zone, for schedules.")] = "UTC",
) -> None:
    """The rule stage alone: which incidents do these rules make of these tracks?"""
    if not tracks.is_file():
        raise Invalid(f"tracks: {tracks} is no file; name a MOTChallenge text", field="tracks")
    rows = mot.parse(tracks.read_text(encoding="utf-8", errors="replace"), name=str(tracks))
    film = Film(
        size=parse_size(size),
        fps=parse_rate(fps),
        start=parse_start(start),
        camera=camera,
        time_zone=time_zone,
    )
    found = replay(rows, film, read_documents(rules))
    write_lines(found, out)
    typer.echo(f"{len(found)} incidents, written to {out}")


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from `768x576`.

    Raises:
        Invalid: it is no such text.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise Invalid(f"size: {text!r} is no frame size; write it as 768x576", field="size")
    return int(width), int(height)


def parse_rate(text: str) -> Fraction:
    """Frames a second, from `25`, `29.97` or `30000/1001`.

    Raises:
        Invalid: it is no number above zero.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise Invalid(f"fps: {text!r} is no frame rate; write a number such as 25", field="fps")
    return rate


def parse_start(text: str) -> int:
    """A moment in RFC 3339 as microseconds UTC; without a zone it is UTC.

    Raises:
        Invalid: it is no moment.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"start: {text!r} is no time; write it as 2026-01-31T08:00:00Z", field="start"
        ) from None
    return micros(found if found.tzinfo else found.replace(tzinfo=UTC))


def _report(results: list[dict[str, Any]], *, tests: bool = False) -> bool:
    """Print what was found; True where every test ran and passed."""
    passed = True
    for one in results:
        typer.echo(f"{one['rule'] or '(no id)'}: {'ok' if one['ok'] else 'not ok'}")
        _print_problems("error", one["problems"])
        if not tests:
            _print_problems("warning", one.get("warnings", []))
        passed = passed and not one["problems"]
        if tests and not one.get("tests") and not one["problems"]:
            typer.echo("  no tests")
        for test in one.get("tests", []):
            passed = passed and test["passed"]
            state = "passed" if test["passed"] else test["problem"] or "failed"
            typer.echo(f"  test {test['index'] + 1}: {state}")
    return passed


def _print_problems(kind: str, problems: list[dict[str, str]]) -> None:
    for one in problems:
        typer.echo(
            f"  {kind}: {one['path']}: {one['message']} (got {one['value']}); {one['remedy']}"
        )
