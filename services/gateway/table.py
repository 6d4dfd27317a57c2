"""The gateway's table: which process serves a method and path. Made of what the processes say they serve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import msgspec
import structlog
from starlette.routing import compile_path

from shared.service import Health

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncGenerator, Callable, Sequence

AGAIN_S = 2.0  # until every upstream has answered once
RENEW_S = 30.0
log = structlog.get_logger(component="gateway")


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way in of another process."""

    method: str
    path: str
    scope: str | None
    public: bool


class Match(NamedTuple):
    """Where a call goes."""

    upstream: str
    way: Way


class Answer(msgspec.Struct, frozen=True):
    """What an upstream serves."""

    ways: list[Way]
    openapi: dict[str, Any]


class Table:
    """Kept fresh by `keep`. An upstream that does not answer keeps its last known ways: calls get 503, not 404."""

    def __init__(self, upstreams: Sequence[str], token: Callable[[], str]) -> None:
        self._upstreams = upstreams
        self._auth = _Bearer(token)
        self._answers: dict[str, Answer] = {}
        self._compiled: list[tuple[re.Pattern[str], Match]] = []
        self._silent: dict[str, str] = {}

    def match(self, method: str, path: str) -> Match | None:
        """The process that serves this, or None."""
        wanted = "GET" if method == "HEAD" else method
        for pattern, found in self._compiled:
            if found.way.method == wanted and pattern.match(path):
                return found
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that a path is served for."""
        return sorted({m.way.method for pattern, m in self._compiled if pattern.match(path)})

    def documents(self) -> list[dict[str, Any]]:
        """The OpenAPI documents of all upstreams."""
        return [answer.openapi for answer in self._answers.values()]

    async def keep(self) -> None:
        """Ask the upstreams what they serve, until cancelled."""
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, auth=self._auth) as client:
            while True:
                await asyncio.gather(*(self._ask(client, one) for one in self._upstreams))
                self._compile()
                await asyncio.sleep(AGAIN_S if self._silent else RENEW_S)

    async def check(self) -> Health:
        """Degraded while an upstream does not answer."""
        if self._silent:
            names = ", ".join(sorted(self._silent))
            return Health(status="degraded", reason=f"no answer from {names}", details=self._silent)
        return Health(status="healthy", details={"ways": len(self._compiled)})

    async def _ask(self, client: httpx.AsyncClient, upstream: str) -> None:
        try:
            answer = await client.get(f"{upstream}/ways")
            answer.raise_for_status()
            self._answers[upstream] = msgspec.json.decode(answer.content, type=Answer)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            if upstream not in self._silent:
                log.warning("upstream_silent", upstream=upstream, reason=repr(error))
            self._silent[upstream] = type(error).__name__
        else:
            self._silent.pop(upstream, None)

    def _compile(self) -> None:
        self._compiled = [
            (compile_path(way.path)[0], Match(upstream, way))
            for upstream, answer in self._answers.items()
            for way in answer.ways
        ]


class _Bearer(httpx.Auth):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


def merged(own: dict[str, Any], others: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One OpenAPI document of all: paths and schemas side by side, ours first where both have one."""
    paths = dict(own.get("paths", {}))
    schemas = dict(own.get("components", {}).get("schemas", {}))
    for other in others:
        for path, item in other.get("paths", {}).items():
            paths[path] = {**item, **paths.get(path, {})}
        for name, schema in other.get("components", {}).get("schemas", {}).items():
            schemas.setdefault(name, schema)
    components = {**own.get("components", {}), "schemas": schemas}
    return {**own, "paths": paths, "components": components}
