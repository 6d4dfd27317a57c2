"""`vantage notify`: channels, a test message, and what became of the alerts."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.client import connect
from shared.errors import Unavailable

app = typer.Typer(no_args_is_help=True, help="Notification channels and deliveries.")


@app.command("list")
def list_channels(ctx: typer.Context) -> None:
    """All channels."""
    with connect(ctx, "notifier") as api:
        channels = api.get("/api/v1/channels")["items"]
    table = Table("name", "kind", "url", "state", box=None)
    for one in channels:
        state = "on" if one["enabled"] else f"off: {one['disabled_reason']}"
        table.add_row(one["name"], one["kind"], one["url"], state)
    Console().print(table, highlight=False, markup=False)


@app.command("add")
def add_webhook(
    ctx: typer.Context,
    name: str,
    url: str,
    min_severity: Annotated[str, typer.Option(help="Leave out what is less severe.")] = "info",
) -> None:
    """Add a webhook that hears every alert, and print its secret, which is never shown again."""
    with connect(ctx, "notifier") as api:
        made = api.post(
            "/api/v1/channels", {"name": name, "url": url, "min_severity": min_severity}
        )
    typer.echo(f"channel={made['name']}\nsecret={made['secret']}")


@app.command("test")
def test_channel(ctx: typer.Context, name: str) -> None:
    """Send a test message through a channel and tell what came back."""
    with connect(ctx, "notifier") as api:
        told = api.post(f"/api/v1/channels/{name}/test")
    if not told["delivered"]:
        raise Unavailable(f"{name} did not take the test message: {told['detail']}")
    typer.echo(f"{name}: delivered ({told['detail']})")


@app.command("remove")
def remove_channel(ctx: typer.Context, name: str) -> None:
    """Remove a channel; what it was sent stays listed."""
    with connect(ctx, "notifier") as api:
        api.delete(f"/api/v1/channels/{name}")


@app.command("deliveries")
def deliveries(
    ctx: typer.Context,
    state: Annotated[
        str | None, typer.Option(help="pending, retrying, delivered or failed.")
    ] = None,
    limit: int = 20,
) -> None:
    """What became of the newest alerts."""
    with connect(ctx, "notifier") as api:
        items = api.get("/api/v1/deliveries", state=state, limit=limit)["items"]
    table = Table("changed", "state", "try", "channel", "alert", "detail", box=None)
    for one in items:
        table.add_row(
            one["changed_at"], one["state"], str(one["attempt"]), one["channel"], one["title"],
            one["detail"],
        )  # fmt: skip
    Console().print(table, highlight=False, markup=False)
