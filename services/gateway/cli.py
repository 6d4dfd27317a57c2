"""`vantage user` and `client`: who may come in; `audit`: who did what; `dead-letters`, `consumers`: the log."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared.client import Api, connect, connector_of
from shared.errors import NotFound

app = typer.Typer(no_args_is_help=True)
user = typer.Typer(no_args_is_help=True, help="People who sign in.")
client = typer.Typer(no_args_is_help=True, help="Programs that get tokens.")
app.add_typer(user, name="user")
app.add_typer(client, name="client")
audit = typer.Typer(no_args_is_help=True, help="Who did what.")
letters = typer.Typer(no_args_is_help=True, help="Records that no handler could digest.")
app.add_typer(audit, name="audit")
app.add_typer(letters, name="dead-letters")
consumers = typer.Typer(no_args_is_help=True, help="Consumers of the log.")
app.add_typer(consumers, name="consumers")

AT_ONCE = 100
Text = Annotated[str | None, typer.Option(show_default=False)]
Since = Annotated[str | None, typer.Option(metavar="RFC3339", show_default=False)]
Until = Annotated[str | None, typer.Option(metavar="RFC3339", show_default=False)]


@user.command("list")
def list_users(ctx: typer.Context) -> None:
    """Everybody."""
    with connect(ctx, "gateway") as api:
        people = api.get("/api/v1/users")["items"]
    table = Table("name", "role", "disabled", "password", box=None)
    for one in people:
        table.add_row(one["name"], one["role"], _yes(one["disabled"]), _yes(one["has_password"]))
    Console().print(table)


@user.command("add")
def add_user(
    ctx: typer.Context,
    name: str,
    role: Annotated[str, typer.Option(help="admin, operator or viewer.")] = "viewer",
) -> None:
    """Add a user and print a link with which they sign in once, within 15 minutes."""
    with connect(ctx, "gateway") as api:
        made = api.post("/api/v1/users", {"name": name, "role": role})
        link = api.post(f"/api/v1/users/{made['id']}/sign-in-link")
    typer.echo(f"{made['name']} ({made['role']}) signs in at {link['path']}")


@user.command("link")
def make_link(ctx: typer.Context, name: str) -> None:
    """Print a link with which a user signs in once, within 15 minutes."""
    with connect(ctx, "gateway") as api:
        link = api.post(f"/api/v1/users/{_identity(api.get('/api/v1/users'), name)}/sign-in-link")
    typer.echo(link["path"])


@user.command("password")
def set_password(
    ctx: typer.Context,
    name: str,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Set a user's password; their sessions end."""
    with connect(ctx, "gateway") as api:
        identity = _identity(api.get("/api/v1/users"), name)
        api.patch(f"/api/v1/users/{identity}", {"password": password})


@user.command("remove")
def remove_user(ctx: typer.Context, name: str) -> None:
    """Remove a user; their sessions end."""
    with connect(ctx, "gateway") as api:
        api.delete(f"/api/v1/users/{_identity(api.get('/api/v1/users'), name)}")


@client.command("list")
def list_clients(ctx: typer.Context) -> None:
    """All programs that may get tokens."""
    with connect(ctx, "gateway") as api:
        clients = api.get("/api/v1/clients")["items"]
    table = Table("name", "client_id", "scopes", box=None)
    for one in clients:
        table.add_row(one["name"], one["client_id"], " ".join(one["scopes"]))
    Console().print(table)


@client.command("add")
def add_client(ctx: typer.Context, name: str, scopes: list[str]) -> None:
    """Add a program and print its id and secret, which is never shown again."""
    with connect(ctx, "gateway") as api:
        made = api.post("/api/v1/clients", {"name": name, "scopes": scopes})
    typer.echo(f"client_id={made['client_id']}\nclient_secret={made['client_secret']}")


@client.command("remove")
def remove_client(ctx: typer.Context, name: str) -> None:
    """Remove a program; its tokens are refused at once."""
    with connect(ctx, "gateway") as api:
        for one in api.get("/api/v1/clients")["items"]:
            if name in (one["name"], one["client_id"]):
                api.delete(f"/api/v1/clients/{one['client_id']}")
                return
    raise typer.BadParameter(f"there is no client {name}")


@audit.command("list")
def list_audit(
    ctx: typer.Context,
    actor: Text = None,
    action: Text = None,
    object: Text = None,
    outcome: Text = None,
    address: Text = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
) -> None:
    """The newest entries, newest first: a table on a terminal, JSON lines in a pipe."""
    query = {"actor": actor, "action": action, "object": object, "outcome": outcome}
    query["address"] = address
    query |= {"from": since, "to": until}
    with connect(ctx, "gateway") as api:
        entries = list(_all(api, "/api/v1/audit", query, limit))
    _print(entries, ("index", "at", "actor", "action", "object", "outcome", "reason"))


@audit.command("verify")
def verify_audit(ctx: typer.Context) -> None:
    """Check the chain from its first entry to its last; exit code 1 where it does not hold."""
    with connect(ctx, "gateway") as api:
        found = api.get("/api/v1/audit/verification")
    anchored = f"{found['checkpoints']} signed checkpoints, the newest at {found['anchored_to']}"
    for name in found["unreadable_checkpoints"]:
        typer.echo(f"no key of ours has signed the checkpoint {name}", err=True)
    if found["ok"]:
        typer.echo(f"{found['entries']} entries hold; {anchored}")
        return
    if found["first_bad"] is not None:
        typer.echo(f"entry {found['first_bad']} does not hold: {found['reason']}", err=True)
    raise typer.Exit(1)


@letters.command("list")
def list_letters(
    ctx: typer.Context,
    topic: Text = None,
    group: Text = None,
    error: Annotated[str | None, typer.Option(help="Its class.", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
) -> None:
    """Dead letters by topic, oldest first: a table on a terminal, JSON lines in a pipe."""
    query = {"topic": topic, "group": group, "error": error, "from": since, "to": until}
    with connect(ctx, "gateway") as api:
        found = list(_all(api, "/api/v1/dead-letters", query, limit))
    rows = [
        {**one, "origin": "/".join(map(str, one["origin"].values()))} if _seen() else one
        for one in found
    ]
    columns = (
        "place",
        "origin",
        "group",
        "error",
        "reason",
        "attempts",
        "parked_at",
        "replayed_at",
    )
    _print(rows, columns)


@letters.command("show")
def show_letter(
    ctx: typer.Context,
    letter: Annotated[
        str, typer.Argument(help="A place such as alerts.dead/0/17, or an event id.")
    ],
) -> None:
    """One dead letter with its headers, its value and the traceback, as JSON."""
    with connect(ctx, "gateway") as api:
        for place in [letter] if "/" in letter else _places(api, letter):
            topic, _, offset = place.replace("/0/", "/").partition("/")
            found = api.get(f"/api/v1/dead-letters/{topic}/{offset}")
            trace = found.pop("traceback")
            typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
            if trace:
                typer.echo(trace)


@letters.command("replay")
def replay_letters(
    ctx: typer.Context,
    topic: Text = None,
    group: Text = None,
    error: Annotated[str | None, typer.Option(help="Its class.", show_default=False)] = None,
    id: Annotated[str | None, typer.Option(help="An event's id.", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,
    yes: Annotated[bool, typer.Option(help="Do not ask.")] = False,
    rate: Annotated[int, typer.Option(min=1, help="At most so many a second.")] = 100,
) -> None:
    """Send dead letters back, each to the group that failed and under its id; what went back before stays."""
    body = {"topic": topic, "group": group, "error": error, "id": id, "from": since, "to": until}
    body = {name: value for name, value in body.items() if value is not None}
    with connect(ctx, "gateway") as api:
        counted = _replayed(api, {**body, "dry_run": True, "limit": AT_ONCE}, None)
        _tell("would go back" if dry_run else "to go back", counted)
        total = sum(counted["by"].values())
        if dry_run or not total:
            return
        if not yes:
            typer.confirm(f"Send {total} back?", abort=True)
        # What fails again meanwhile is a new letter: it waits for the next time.
        body = {"to": counted["at"], **body}
        done = _replayed(api, {**body, "limit": min(rate, AT_ONCE)}, rate, total)
    _tell("went back", done)


@consumers.command("list")
def list_consumers(ctx: typer.Context) -> None:
    """The consumers of every process on this data folder."""
    with connector_of(ctx).processes("gateway") as apis:
        rows: list[dict[str, Any]] = [one for api in apis for one in api.get("/consumers")["items"]]
    shown = [
        {
            **one,
            "topics": ", ".join(one["topics"]),
            "status": "stopped" if one["stopped"] else one["status"],
        }
        for one in rows
    ]
    columns = ("name", "kind", "topics", "status", "lag", "reason")
    _print(shown if _seen() else rows, columns)


@consumers.command("resume")
def resume(ctx: typer.Context, name: str) -> None:
    """Start a consumer anew from what is committed: after too many dead letters, or when it hangs."""
    with connector_of(ctx).processes("gateway") as apis:
        there = [
            api for api in apis if name in {one["name"] for one in api.get("/consumers")["items"]}
        ]
        if not there:
            raise NotFound(f"no process here has a consumer {name!r}; see `vantage consumers list`")
        for api in there:
            api.post(f"/consumers/{name}/resume")
    typer.echo(f"{name} goes on")


def _replayed(
    api: Api, body: dict[str, Any], rate: int | None, total: int | None = None
) -> dict[str, Any]:
    """Call until there are no more, `rate` a second; what all answers say together."""
    by: dict[tuple[str, str, str], int] = {}
    already = cut = 0
    cursor: str | None = None
    at = ""
    with Progress(console=Console(stderr=True), disable=total is None or not _seen()) as bar:
        task = bar.add_task("replay", total=total)
        while True:
            began = time.monotonic()
            more = {} if cursor is None else {"cursor": cursor}
            answer = api.post("/api/v1/dead-letters/replays", {**body, **more})
            for one in answer["by"]:
                what = (one["topic"], one["group"], one["error"])
                by[what] = by.get(what, 0) + one["count"]
            already += answer["already"]
            at = at or answer["at"]
            cut += answer["cut"]
            bar.advance(task, answer["replayed"])
            cursor = answer["next"]
            if cursor is None:
                return {"by": by, "already": already, "cut": cut, "at": at}
            if rate is not None:
                time.sleep(max(0.0, answer["replayed"] / rate - (time.monotonic() - began)))


def _tell(what: str, counted: dict[str, Any]) -> None:
    for (topic, group, error), count in sorted(counted["by"].items()):
        typer.echo(f"{count} {what}: {topic}, group {group}, {error}")
    if not counted["by"]:
        typer.echo(f"0 {what}")
    if counted["already"]:
        typer.echo(f"{counted['already']} went back before")
    if counted["cut"]:
        told = "are too large to go back; `vantage replay --group` reads them where they came from"
        typer.echo(f"{counted['cut']} {told}")


def _places(api: Api, id: str) -> list[str]:
    found = [one["place"] for one in _all(api, "/api/v1/dead-letters", {"id": id}, AT_ONCE)]
    if not found:
        raise typer.BadParameter(f"there is no dead letter of an event {id}")
    return found


def _all(api: Api, path: str, query: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """Up to `limit` items, page by page."""
    cursor: object = None
    while limit > 0:
        page = api.get(path, **query, cursor=cursor, limit=min(limit, AT_ONCE))
        yield from page["items"]
        limit -= len(page["items"])
        cursor = page["next"]
        if cursor is None:
            return


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """A table where somebody looks, else JSON lines."""
    if not _seen():
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    table = Table(*columns, box=None)
    for row in rows:
        cells = ("" if row[column] is None else str(row[column]) for column in columns)
        table.add_row(*cells)
    Console().print(table, markup=False, highlight=False)


def _seen() -> bool:
    return sys.stdout.isatty()


def _identity(people: dict[str, list[dict[str, str]]], name: str) -> str:
    for one in people["items"]:
        if one["name"] == name.lower():
            return one["id"]
    raise typer.BadParameter(f"there is no user {name}")


def _yes(value: object) -> str:
    return "yes" if value else "no"
