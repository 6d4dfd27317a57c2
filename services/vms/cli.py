"""`vantage camera`: add, list, show, remove and try cameras."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.vms import shapes
from services.vms.domain import split_login
from shared.client import Api, connect
from shared.errors import Conflict, Invalid, NotFound, VantageError

app = typer.Typer(no_args_is_help=True, help="Cameras.")

WHOLE_FRAME = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]

Shapes = Annotated[list[str] | None, typer.Option(metavar="NAME=X,Y;X,Y;...", show_default=False)]
Login = Annotated[
    str | None, typer.Option(metavar="USER", help="Asks for the password.", show_default=False)
]


@app.command("add")
def add(
    ctx: typer.Context,
    name: str,
    url: Annotated[str, typer.Argument(help="rtsp://..., a file, or a folder of pictures.")],
    zone: Shapes = None,
    line: Annotated[
        list[str] | None, typer.Option(metavar="NAME=X,Y;X,Y", show_default=False)
    ] = None,
    mask: Shapes = None,
    model: Annotated[Path | None, typer.Option(help="Detector file.", show_default=False)] = None,
    classes: Annotated[str, typer.Option(help="Separated by commas.")] = "person",
    threshold: Annotated[float, typer.Option(help="Score from 0 to 1.")] = 0.4,
    rate: Annotated[float, typer.Option(help="Looks a second.")] = 5.0,
    every_frame: Annotated[bool, typer.Option(help="No motion gate.")] = False,
    login: Login = None,
    test: Annotated[bool, typer.Option(help="Look at it first.")] = True,
    rule: Annotated[
        bool | None, typer.Option(help="Make a first rule.", show_default=False)
    ] = None,
) -> None:
    """Add a camera; it is looked at first, and gets a first rule: without one it never alerts."""
    body = _body(name, url, zone or [], line or [], mask or [])
    body["detect"] = {
        "model": "" if model is None else str(_existing(model)),
        "classes": [one.strip() for one in classes.split(",") if one.strip()],
        "threshold": threshold,
        "rate": rate,
        "every_frame": every_frame,
    }
    if login is not None:
        password = typer.prompt("Password", hide_input=True)
        body["credentials"] = {"username": login, "password": password}
    owners = {"vms": True, "ingest": test, "orchestrator": rule is not False}
    with connect(ctx, *(owner for owner, needed in owners.items() if needed)) as api:
        if test:
            typer.echo(_seen(_probed(api, body)))
        camera = _added(api, body)
        _first_rule(api, camera, rule)


@app.command("list")
def list_cameras(ctx: typer.Context) -> None:
    """All cameras and how they are."""
    with connect(ctx, "vms") as api:
        cameras = api.get("/api/v1/cameras")["items"]
        states = {one["camera"]: one for one in api.get("/api/v1/camera-status")["items"]}
    table = Table("id", "name", "state", "fps", "zones", "url", "note", box=None)
    for camera in cameras:
        state = states.get(camera["id"], {})
        table.add_row(
            camera["id"],
            camera["name"],
            state.get("state", "unknown") if camera["enabled"] else "disabled",
            f"{state.get('fps', 0.0):.1f}",
            ", ".join(zone["name"] for zone in camera["zones"]),
            camera["url"],
            "" if state.get("state") == "online" else state.get("reason", ""),
        )
    Console().print(table, markup=False)


@app.command("show")
def show(ctx: typer.Context, camera: str) -> None:
    """One camera, as JSON."""
    with connect(ctx, "vms") as api:
        found = _found(api, camera)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


@app.command("remove")
def remove(ctx: typer.Context, camera: str) -> None:
    """Remove a camera; its history stays until it expires."""
    with connect(ctx, "vms") as api:
        found = _found(api, camera)
        api.delete(f"/api/v1/cameras/{found['id']}")
    typer.echo(f"Camera {found['id']} is removed.")


@app.command("test")
def try_camera(
    ctx: typer.Context,
    camera: Annotated[str, typer.Argument(help="A camera, or a URL that is none yet.")],
    login: Login = None,
) -> None:
    """Look at a camera or a URL, and say what is to be seen or why nothing is."""
    with connect(ctx, "vms", "ingest") as api:
        body: dict[str, Any] = {"url": address(camera)} if _is_url(camera) else _found(api, camera)
        if login is None and body.get("has_credentials"):
            raise Invalid(
                f"camera {body['id']} has a login, which is never shown: give it with --login USER"
            )
        if login is not None:
            password = typer.prompt("Password", hide_input=True)
            body["credentials"] = {"username": login, "password": password}
        typer.echo(_seen(_probed(api, body)))


def address(text: str) -> str:
    """A URL as it is; the path of a file or a folder as the URL that reads it.

    Raises:
        Invalid: it is neither.
    """
    if "://" in text:
        return text
    path = Path(text).expanduser()
    if not path.exists():
        raise Invalid(f"url: {text!r} is no URL and no file; write one like rtsp://host/stream")
    absolute = path.resolve().as_uri()
    return absolute.replace("file:", "images:", 1) if path.is_dir() else absolute


def first_rule(camera: dict[str, Any]) -> dict[str, Any]:
    """The first rule of a camera: one of its classes enters its first zone, or the picture."""
    zones = [zone["name"] for zone in camera["zones"]]
    classes = camera["detect"]["classes"]
    who = " or ".join(classes)
    document: dict[str, Any] = {
        "id": f"{camera['id']}-enters",
        "title": f"{who[:1].upper()}{who[1:]} enters",
        "level": "medium",
        "scope": {"cameras": [camera["id"]]},
        "match": {"enter": {"class": classes, "zone": zones[0] if zones else "picture"}},
        "group_by": ["track"],
        "cooldown": "1m",
    }
    if not zones:
        document["defs"] = {"zones": {"picture": WHOLE_FRAME}}
    return document


def _body(
    name: str, url: str, zones: list[str], lines: list[str], masks: list[str]
) -> dict[str, Any]:
    return {
        "name": name,
        "url": address(url),
        "zones": [shapes.polygon(text, "--zone") for text in zones],
        "lines": [shapes.line(text, "--line") for text in lines],
        "masks": [shapes.polygon(text, "--mask") for text in masks],
    }


def _existing(model: Path) -> Path:
    if not model.is_file():
        raise Invalid(f"--model: there is no file {model}; name the detector's file")
    return model.resolve()


def _is_url(text: str) -> bool:
    return "://" in text or Path(text).expanduser().exists()


def _found(api: Api, name: str) -> dict[str, Any]:
    """A camera by its id or its name."""
    cameras = api.get("/api/v1/cameras")["items"]
    for camera in cameras:
        if name in (camera["id"], camera["name"]) or name.casefold() == camera["name"].casefold():
            return dict(camera)
    known = ", ".join(camera["id"] for camera in cameras) or "none yet"
    raise NotFound(f"there is no camera {name!r}; there are: {known}")


def _probed(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """What ingest sees at the URL.

    Raises:
        Invalid: it sees nothing; the text says why.
    """
    url, in_url = split_login(body["url"])
    login = body.get("credentials")
    if login is None and in_url is not None:
        login = {"username": in_url.username, "password": in_url.password}
    answer = api.post("/api/v1/probes", {"url": url, **(login or {})})
    if not answer["ok"]:
        raise Invalid(
            f"no picture: {answer['reason']} (`vantage camera add --no-test` adds it unseen)"
        )
    return dict(answer)


def _seen(answer: dict[str, Any]) -> str:
    return (
        f"Picture: {answer['codec']}, {answer['width']}x{answer['height']}, {answer['fps']:g} fps."
    )


def _added(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    camera = dict(api.post("/api/v1/cameras", body))
    typer.echo(f"Camera {camera['id']} is added.")
    for text in camera.get("warnings", []):
        typer.echo(f"Warning: {text}.", err=True)
    return camera


def _first_rule(api: Api, camera: dict[str, Any], wanted: bool | None) -> None:
    """Make the first rule; a person at a terminal is asked, unless the option says it."""
    document = first_rule(camera)
    where = document["match"]["enter"]["zone"]
    if wanted is None and typer.get_text_stream("stdin").isatty():
        wanted = typer.confirm(f'Alert when "{document["title"]}" ({where})?', default=True)
    if wanted is False:
        typer.echo("It has no rule yet and will not alert; see `vantage rule add`.")
        return
    try:
        saved = api.post("/api/v1/rules", {"document": document})
    except Conflict:
        typer.echo(f"Rule {document['id']} is there already.")
        return
    except VantageError as error:
        typer.echo(f"The camera stays, but its first rule was not made: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f'Rule {saved["id"]} is added: "{document["title"]}" ({where}).')
