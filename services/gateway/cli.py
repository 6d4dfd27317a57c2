"""`vantage user` and `vantage client`: who may come in."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.client import connect

app = typer.Typer(no_args_is_help=True)
user = typer.Typer(no_args_is_help=True, help="People who sign in.")
client = typer.Typer(no_args_is_help=True, help="Programs that get tokens.")
app.add_typer(user, name="user")
app.add_typer(client, name="client")


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


def _identity(people: dict[str, list[dict[str, str]]], name: str) -> str:
    for one in people["items"]:
        if one["name"] == name.lower():
            return one["id"]
    raise typer.BadParameter(f"there is no user {name}")


def _yes(value: object) -> str:
    return "yes" if value else "no"
