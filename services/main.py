"""The list of services, one lazy line each, and the command line `vantage`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from shared.errors import Setup, VantageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.client import Connector
    from shared.http import Application
    from shared.runtime.server import Listening
    from shared.service import Service
    from shared.settings import Configuration, PlatformSettings

SERVICES: Mapping[str, str] = {
    "gateway": "services.gateway.service:SERVICE",
    "vms": "services.vms.service:SERVICE",
    "orchestrator": "services.orchestrator.service:SERVICE",
    "dashboard": "services.dashboard.service:SERVICE",
    "ingest": "services.ingest.service:SERVICE",
    "inference": "services.inference.service:SERVICE",
    "notifier": "services.notifier.service:SERVICE",
}

# Commands that services bring along: the module that has the Typer `app`.
COMMANDS: Mapping[str, str] = {
    "user": "services.gateway.cli",
    "client": "services.gateway.cli",
    "camera": "services.vms.cli",
    "rule": "services.orchestrator.cli",
    "notify": "services.notifier.cli",
    "demo": "services.demo",
    "analyze": "services.analyze.cli",
    "track": "services.orchestrator.track",
}

HOUSE_PORT = 8000


class Commands(TyperGroup):
    """Imports a service's commands only when they are called, and prints our own errors without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Typer's own click
        """Our own commands, then those of the services."""
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - Typer's own click
        """A command by name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        found: Any = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        command = getattr(found, "commands", {}).get(cmd_name) or found
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own click
        """Run a command; exit code 2 where the set-up is wrong, 1 where the command could not be done."""
        try:
            return super().invoke(ctx)
        except VantageError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, Setup) else 1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, secrets among them
    help="Vantage: cameras become events, rules become incidents, alerts arrive.",
)
config = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(config, name="config")

DataDir = Annotated[Path | None, typer.Option(help="Where all data is kept.", show_default=False)]
Port = Annotated[
    int | None, typer.Option(help="HTTP port; 0 picks a free one.", show_default=False)
]
Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)]


@app.callback()
def root(ctx: typer.Context) -> None:
    """Vantage: cameras become events, rules become incidents, alerts arrive."""
    ctx.obj = connector()


@app.command()
def up(
    port: Port = None,
    host: Host = None,
    data_dir: DataDir = None,
    engines: Annotated[
        bool,
        typer.Option("--engines", help="Each in its own, on Kafka and PostgreSQL of this machine."),
    ] = False,
    replicas: Annotated[
        str, typer.Option(help="With --engines: inference=2,orchestrator=2.", show_default=False)
    ] = "",
) -> None:
    """Run all services in this process."""
    options: dict[str, object] = {"port": port, "host": host, "data_dir": data_dir}
    if engines:
        keep_house(options, replicas)
        return
    if replicas:
        raise Setup("--replicas: one process has one of each; add --engines")
    serve_here(list(SERVICES), options)


@app.command()
def run(
    services: Annotated[list[str], typer.Argument(help=f"Of {', '.join(SERVICES)}.")],
    port: Port = None,
    host: Host = None,
    data_dir: DataDir = None,
) -> None:
    """Run some services in this process."""
    serve_here(services, {"port": port, "host": host, "data_dir": data_dir})


@config.command("show")
def show(data_dir: DataDir = None) -> None:
    """Every setting with its value and where it comes from; secrets are masked."""
    from rich.console import Console
    from rich.table import Table

    from shared.settings import Configuration

    configuration = Configuration.read({"data_dir": data_dir})
    kinds = {name: load(name).settings for name in SERVICES}
    configuration.check(kinds)
    values = configuration.explain(None, configuration.platform())
    for name, kind in kinds.items():
        values += configuration.explain(name, configuration.service(name, kind))
    table = Table("setting", "value", "origin", box=None, pad_edge=False)
    for value in values:
        table.add_row(value.name, value.value, value.origin)
    console = Console(
        width=None if sys.stdout.isatty() else 1000
    )  # in a file or pipe no path is cut
    console.print(table, highlight=False, markup=False)


@app.command()
def contracts(
    check: Annotated[bool, typer.Option(help="Only tell whether they are fresh.")] = False,
) -> None:
    """Write JSON Schema, AsyncAPI and events.md of this code to schemas/generated."""
    import schemas
    from shared.contracts import stale, write

    folder = Path(schemas.__file__).parent / "generated"
    services = [load(name) for name in SERVICES]
    changed = stale(services, folder) if check else write(services, folder)
    for name in changed:
        typer.echo(f"{'stale' if check else 'wrote'} {name}")
    if check and changed:
        raise Setup("the generated contracts differ from the code; run `make contracts`")


def main() -> None:
    """Entry point of the command `vantage`."""
    app(prog_name="vantage")


def load(name: str) -> Service:
    """A service by name, imported now.

    Raises:
        Setup: there is no service of this name.
    """
    if name not in SERVICES:
        raise Setup(f"there is no service {name!r}; there are {', '.join(SERVICES)}")
    module, _, attribute = SERVICES[name].partition(":")
    service: Service = getattr(import_module(module), attribute)
    return service


def connector() -> Connector:
    """How the commands of the services reach the API."""
    from shared.client import Connector
    from shared.settings import Configuration

    configuration = Configuration.read()
    settings = configuration.platform()

    def serve(names: Sequence[str]) -> Application:
        from shared import telemetry
        from shared.runtime import application

        telemetry.configure(level="ERROR", style="text")
        services = [load(name) for name in names]
        return application(services, settings, configuration=configuration, works=False)

    return Connector(settings, serve)


def serve_here(
    names: Sequence[str],
    options: Mapping[str, object],
    *,
    announce: Callable[[Listening, list[str]], None] | None = None,
) -> None:
    """Run services in this process until SIGTERM or SIGINT; `announce` is called once it listens."""
    import asyncio

    from shared import telemetry
    from shared.platform import embedded
    from shared.runtime import application, serve
    from shared.runtime.lock import lock_folder
    from shared.runtime.server import Sockets, socket_name
    from shared.settings import Configuration

    configuration = Configuration.read(options)
    settings = configuration.platform()
    services = [load(name) for name in dict.fromkeys(names)]
    _check(configuration, services)
    telemetry.configure(
        level=settings.log_level, style=settings.log_format, instance=settings.instance
    )
    alone, instance = embedded(settings), settings.instance
    with lock_folder(settings.data_dir, names, alone=alone, instance=instance):
        default = services[0].port if len(services) == 1 else HOUSE_PORT
        sockets = Sockets(settings, default, socket_name(names, instance))
        settings = _listening(settings, sockets.listening, door="gateway" in names)

        app = application(services, settings, configuration=configuration)
        try:
            asyncio.run(serve(app, settings, sockets, announce=announce or _announce))
        finally:
            sockets.close()


def keep_house(options: Mapping[str, object], replicas: str) -> None:
    """Run every service in a process of its own, on engines of this machine, until SIGTERM or SIGINT."""
    from services.engines.house import keep, parse_replicas
    from shared import telemetry
    from shared.settings import Configuration

    configuration = Configuration.read(options)
    settings = configuration.platform()
    wanted = parse_replicas(replicas, list(SERVICES))
    _check(configuration, [load(name) for name in SERVICES])
    telemetry.configure(level=settings.log_level, style=settings.log_format, instance="house")
    keep(configuration, settings, list(SERVICES), wanted)


def _announce(listening: Listening, notices: list[str]) -> None:
    typer.echo(f"Vantage listens on {listening.url}")
    for notice in notices:
        typer.echo(notice)
    sys.stdout.flush()


def _check(configuration: Configuration, services: Sequence[Service]) -> None:
    """Refuse wrong values, and unknown names in the file, before anything is opened."""
    for service in services:
        configuration.service(service.name, service.settings)
    if configuration.document:
        configuration.check({name: load(name).settings for name in SERVICES})


def _listening(settings: PlatformSettings, place: Listening, *, door: bool) -> PlatformSettings:
    """The settings with the ports as they came out; people reach the gateway, and no other process by its own URL."""
    update: dict[str, object] = {"port": place.port, "metrics_port": place.metrics_port}
    if door:
        update["public_url"] = place.url
    return settings.model_copy(update=update)


if __name__ == "__main__":
    main()
