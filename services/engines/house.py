"""A house of processes on one machine: engines first, then every service in its own, kept alive and ended in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from services.engines.children import Child, LogFile, Order
from services.engines.kafka import Kafka
from services.engines.places import Place, free_port, open_place
from services.engines.postgres import Postgres
from services.engines.redis import Redis
from shared.clock import SystemClock
from shared.errors import Setup, Unavailable
from shared.metrics import Metrics
from shared.platform import embedded
from shared.runtime.lock import lock_folder
from shared.runtime.server import MAIN, bind
from shared.settings import PREFIX
from shared.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.engines.port import Engine
    from shared.settings import Configuration, PlatformSettings

ENGINES: tuple[Engine, ...] = (Kafka(), Postgres(), Redis())
STARTS_S = 120.0  # for everything to work; a first start makes data and compiles
DRAIN_S = 15.0  # services end within ten seconds
STOP_S = 15.0
MOST = 16  # processes of one service
LISTENS = b"Vantage listens on "
# What belongs to one process and is not for its siblings.
OWN = ("PORT", "METRICS_PORT", "HOST", "INSTANCE", "URL", "TOKEN")
log = structlog.get_logger(component="house")


class Member(NamedTuple):
    """One process of a service."""

    service: str
    instance: str
    port: int

    @property
    def name(self) -> str:
        """As its lines in the log have it."""
        return f"{self.service}-{self.instance}"


def keep(
    configuration: Configuration,
    settings: PlatformSettings,
    services: Sequence[str],
    replicas: Mapping[str, int],
) -> None:
    """Run the house until SIGTERM or SIGINT.

    Raises:
        Setup: an engine is missing, or a process cannot start as it is set up; nothing is left running.
    """
    if settings.tls_cert is not None:
        raise Setup(
            "--engines is for one machine and speaks no TLS; unset VANTAGE_TLS_CERT, "
            "or start the processes one by one (docs/services.md)"
        )
    house = House(configuration, settings, members(services, replicas, settings))
    if house.named("bus_url") and embedded(settings):
        raise Setup(
            f"VANTAGE_BUS_URL={settings.bus_url} is for one process alone; "
            "unset it for a Kafka of this machine, or name yours: kafka://host:9092"
        )
    with lock_folder(settings.data_dir, ["house"], alone=False):
        bind(settings.host, house.door.port, "--port or VANTAGE_PORT").close()
        asyncio.run(house.run())


def parse_replicas(text: str, services: Sequence[str]) -> dict[str, int]:
    """How many processes of each service: `inference=2,orchestrator=2`.

    Raises:
        Setup: it does not read so.
    """
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = part.partition("=")
        if name not in services:
            raise Setup(
                f"--replicas: there is no service {name!r}; there are {', '.join(services)}"
            )
        if not count.isdigit() or not 1 <= int(count) <= MOST:
            raise Setup(f"--replicas: {part!r}: write a number from 1 to {MOST}, e.g. {name}=2")
        found[name] = int(count)
    return found


def members(
    services: Sequence[str], replicas: Mapping[str, int], settings: PlatformSettings
) -> list[Member]:
    """Every process, the gateway at the house's own port."""
    port = 8000 if settings.port is None else settings.port
    found = [
        Member(service, MAIN if number == 1 else f"{MAIN}-{number}", free_port())
        for service in services
        for number in range(1, replicas.get(service, 1) + 1)
    ]
    door = found.index(next(one for one in found if one.service == "gateway"))
    found[door] = found[door]._replace(port=port or free_port())
    return found


@dataclass
class House:
    """The processes of one house, from start to end."""

    configuration: Configuration
    settings: PlatformSettings
    members: Sequence[Member]
    _urls: dict[str, str] = field(default_factory=dict)
    _notices: list[str] = field(default_factory=list)
    _open: bool = False  # it has said its address

    async def run(self) -> None:
        """Start everything, say the address once, keep it alive; end services first and engines last."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        stopped = asyncio.create_task(stop.wait())
        async with AsyncExitStack() as stack:
            stack.callback(stopped.cancel)
            engines, services = (Supervisor(SystemClock(), Metrics().task_restarts) for _ in "es")
            stack.push_async_callback(partial(engines.stop, patience=STOP_S))
            if not await self._up(engines, await self._engines(), stopped):
                return
            stack.push_async_callback(partial(services.stop, patience=DRAIN_S))
            if not await self._up(services, self._services(), stopped):
                return
            self._announce()
            await stopped
            log.info("house_ends")

    async def _up(
        self, supervisor: Supervisor, children: Sequence[Child], stopped: asyncio.Task[bool]
    ) -> bool:
        """Start children and wait until all of them work; False where we were told to stop before.

        Raises:
            Setup: one of them cannot start as it is set up, or they take too long.
        """
        for child in children:
            supervisor.start(child.name, child.run)
        ready = asyncio.create_task(_all_ready(children))
        refused = [child.refused for child in children]
        first: list[asyncio.Future[Any]] = [ready, stopped, *refused]
        with ExitStack() as stack:
            stack.callback(ready.cancel)
            done, _ = await asyncio.wait(
                first, timeout=STARTS_S, return_when=asyncio.FIRST_COMPLETED
            )
        for one in refused:
            if one in done:
                raise Setup(one.result())
        if not done:
            late = ", ".join(child.name for child in children if not child.ready.is_set())
            raise Unavailable(
                f"{late} did not start within {STARTS_S:g} s; {self.settings.data_dir / 'logs'} says why"
            )
        return stopped not in done

    async def _engines(self) -> list[Child]:
        """The engines that this house runs itself: those whose URL is not set, and which do not run already."""
        needed = [engine for engine in ENGINES if not self.named(engine.setting)]
        missing = [text for engine in needed if (text := engine.missing())]
        if missing:
            raise Setup("; ".join(missing))
        children = []
        for engine in needed:
            folder = self.settings.data_dir / "engines" / engine.name
            place, runs = await asyncio.to_thread(open_place, folder)
            if not runs:
                await asyncio.to_thread(engine.prepare, place)
                children.append(self._engine(engine, place))
            log.info("engine", name=engine.name, port=place.port, found=runs)
            self._urls[engine.setting] = engine.url(place)
        return children

    def _engine(self, engine: Engine, place: Place) -> Child:
        order = Order(
            name=engine.name,
            command=engine.command(place),
            environment=os.environ,
            ready=engine.ready,
            aloud=False,  # Kafka alone says a hundred lines a start
            ends_by=engine.ends_by,
            dies_by=engine.dies_by,
        )
        return Child(order, self._log(engine.name), place.remember)

    def _services(self) -> list[Child]:
        return [self._service(member) for member in self.members]

    def _service(self, member: Member) -> Child:
        host = ["--host", self.settings.host] if member.service == "gateway" else []
        command = [sys.executable, "-m", "services.main", "run", member.service]
        order = Order(
            name=member.name,
            command=[*command, "--port", str(member.port), *host],
            environment=self._environment(member),
            ready=LISTENS,
            tell=self._hear if member is self.door else _nobody,
        )
        return Child(order, self._log(member.name), lambda _pid: None)

    def _environment(self, member: Member) -> dict[str, str]:
        """What a process is told: where everything is, and who it is."""
        own = {f"{PREFIX}{name}" for name in OWN}
        given = {name: value for name, value in os.environ.items() if name not in own}
        url = f"http://127.0.0.1:{self.door.port}"
        values = {
            "data_dir": str(self.settings.data_dir),
            "host": "127.0.0.1",
            "metrics_port": "0",
            "instance": member.instance,
            "gateway_url": url,
            "public_url": self.settings.public_url or url,
            **self._urls,
        }
        if member.service == "gateway":
            behind = [one for one in self.members if one.service != "gateway"]
            values["gateway_upstreams"] = ",".join(f"http://127.0.0.1:{one.port}" for one in behind)
        return given | {f"{PREFIX}{name}".upper(): value for name, value in values.items()}

    def _hear(self, line: str) -> None:
        """What the gateway prints for people: its address and, where there is nobody yet, the sign-in link."""
        if not self._open:
            self._notices.append(line)

    def _announce(self) -> None:
        self._open = True
        sys.stdout.write("".join(f"{line}\n" for line in self._notices))
        sys.stdout.flush()

    def named(self, setting: str) -> bool:
        """Whether the user names an engine of their own."""
        variable = f"{PREFIX}{setting}".upper()
        return variable in self.configuration.environ or setting in self.configuration.document

    def _log(self, name: str) -> LogFile:
        return LogFile(self.settings.data_dir / "logs" / f"{name}.log")

    @property
    def door(self) -> Member:
        """The gateway that people use."""
        return next(one for one in self.members if one.service == "gateway")


async def _all_ready(children: Sequence[Child]) -> None:
    for child in children:
        await child.ready.wait()


def _nobody(_line: str) -> None:
    """Takes what is for nobody."""
