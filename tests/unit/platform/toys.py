"""A service small enough to see through, for the tests of the runtime and the doors."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, WebSocket
from pydantic import BaseModel, ConfigDict
from pydantic_settings import BaseSettings

from shared.errors import Conflict, Forbidden, Invalid, NotFound, TooMany, Unavailable
from shared.http import Application
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.runtime.server import local_owner
from shared.security.doors import PUBLIC, SignedIn, require, require_ws
from shared.security.keys import SigningKeys, private_folder, write_private
from shared.security.principal import Principal
from shared.service import Running, Service
from shared.settings import Configuration, PlatformSettings

Reader = Annotated[Principal, Depends(require("cameras:read"))]
Writer = Annotated[Principal, Depends(require("cameras:write"))]
Watcher = Annotated[Principal, Depends(require_ws("media:read"))]
ERRORS = {
    "invalid": Invalid("name: is empty; give one", field="name"),
    "missing": NotFound("there is no camera x"),
    "conflict": Conflict("it is closed already"),
    "forbidden": Forbidden("this needs more"),
    "unavailable": Unavailable("the disk is full", retry_after=7),
    "too-many": TooMany("slowly", retry_after=60),
}


class ToySettings(BaseSettings):
    """None."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    password: str = ""


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/toy", dependencies=PUBLIC)
    async def toy() -> dict[str, str]:
        return {"toy": "yes"}

    @router.get("/toy/read")
    async def read(principal: Reader) -> dict[str, str]:
        return {"subject": principal.subject, "kind": principal.kind}

    @router.get("/toy/who")
    async def who(principal: SignedIn) -> dict[str, str]:
        return {"subject": principal.subject}

    @router.post("/toy/write", status_code=201)
    async def write(body: Body, principal: Writer) -> dict[str, str]:
        return {"name": body.name, "by": principal.subject}

    @router.get("/toy/numbers/{number}")
    async def number(number: int, _: Reader) -> int:
        return number

    @router.get("/toy/errors/{name}")
    async def fail(name: str, _: Reader) -> None:
        raise ERRORS.get(name) or RuntimeError("canary in a traceback")

    @router.websocket("/toy/live")
    async def live(socket: WebSocket, principal: Watcher) -> None:
        await socket.accept()
        await socket.send_text(principal.subject)
        await socket.close()

    return router


def service(
    running: Running | None = None,
    *,
    name: str = "toy",
    seen: list[ServicePlatform] | None = None,
    migrations: str | None = None,
    **more: Any,
) -> Service:
    """A service around `running` (its routes by default); `seen` collects the platforms it was given."""

    @asynccontextmanager
    async def start(platform: ServicePlatform, _settings: ToySettings) -> AsyncIterator[Running]:
        if seen is not None:
            seen.append(platform)
        yield running or Running(router=routes())

    return Service(
        name=name, port=8123, settings=ToySettings, start=start, migrations=migrations, **more
    )


def app_of(tmp_path: Path, *services: Service, **settings: Any) -> Application:
    """An app of these services on memory and temporary folders."""
    write_key(tmp_path / "data" / "keys")
    given = {"bus_url": "memory://", **settings}
    chosen = PlatformSettings(data_dir=tmp_path / "data", **given)
    return application(list(services) or [service()], chosen, configuration=Configuration())


@cache
def signing_key() -> bytes:
    """One RSA key for all tests of this process: making one takes a while."""
    with TemporaryDirectory() as folder:
        SigningKeys.open(Path(folder))
        return (Path(folder) / "signing-000001.pem").read_bytes()


def write_key(folder: Path) -> None:
    """Have an installation start with a key that is there already."""
    private_folder(folder)
    write_private(folder / "signing-000001.pem", signing_key())


def lifespan(app: Application) -> AbstractAsyncContextManager[Any]:
    """The app while it runs."""
    return app.router.lifespan_context(app)


def caller(app: Application, *, owner: bool = False, **options: Any) -> httpx.AsyncClient:
    """A client of the app; `owner` comes by the owner's socket."""
    served = local_owner(app) if owner else app
    transport = httpx.ASGITransport(served, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://vantage.test", **options)


async def handshake(app: Application, path: str, headers: dict[str, str]) -> bool:
    """Whether a WebSocket opens and says something; refused means a close before the accept."""
    said: list[str] = []
    given = {"host": "vantage.test", **headers}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "subprotocols": [],
        "client": ("127.0.0.1", 50000),
        "server": ("vantage.test", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app(scope, receive, send)
    return said[:2] == ["websocket.accept", "websocket.send"]
