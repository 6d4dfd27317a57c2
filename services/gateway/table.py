"""The gateway's table: which processes serve a method and path. Made of what the processes say they serve."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import httpx
import msgspec
import structlog
from starlette.routing import compile_path

from shared.service import Health

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncGenerator, Callable, Sequence

LOOK_S = 1.0  # between two looks at each upstream
ANSWER_S = 3.0  # a look that takes longer is no answer
RENEW_S = 30.0  # what an upstream serves is asked again so often
log = structlog.get_logger(component="gateway")

State = Literal["ready", "unwell", "silent", "leaving"]
_CHOICE: dict[State, int] = {"ready": 0, "unwell": 1, "silent": 2}
"""Who is tried first. A silent one is tried at last: it may just have come back."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way in of another process."""

    method: str
    path: str
    scope: str | None
    public: bool


class Match(NamedTuple):
    """Where a call may go: every upstream that serves this way."""

    upstreams: tuple[str, ...]
    way: Way


class Answer(msgspec.Struct, frozen=True):
    """What an upstream serves."""

    ways: list[Way]
    openapi: dict[str, Any]


class Readiness(msgspec.Struct, frozen=True):
    """What an upstream says of itself on `/ready`."""

    ready: bool
    faults: dict[str, str]


class Upstream:
    """One process behind the gateway, as it was last seen.

    ready: gets calls, in turn with its equals. unwell: up, but something it needs is not; gets calls where nobody
    is ready. silent: does not answer. leaving: starts, or ends after what it has in hand; gets no call.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.state: State = "silent"
        self.reason = "not asked yet"
        self.answer: Answer | None = None
        self.renew_at = 0.0
        self.look = asyncio.Event()  # set: look again now

    def seen(self, state: State, reason: str = "") -> None:
        """Note how it is."""
        if state != self.state:
            level = log.info if state == "ready" else log.warning
            level("upstream_changed", upstream=self.address, state=state, reason=reason)
        self.state, self.reason = state, reason


class Table:
    """Kept fresh by `keep`. An upstream that does not answer keeps its last known ways: calls get 503, not 404."""

    def __init__(self, upstreams: Sequence[str], token: Callable[[], str]) -> None:
        self._upstreams = {address: Upstream(address) for address in dict.fromkeys(upstreams)}
        self._auth = _Bearer(token)
        self._compiled: list[tuple[re.Pattern[str], Match]] = []
        self._turn = itertools.count()

    def match(self, method: str, path: str) -> Match | None:
        """The processes that serve this, or None."""
        wanted = "GET" if method == "HEAD" else method
        for pattern, found in self._compiled:
            if found.way.method == wanted and pattern.match(path):
                return found
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that a path is served for."""
        return sorted({m.way.method for pattern, m in self._compiled if pattern.match(path)})

    @property
    def complete(self) -> bool:
        """Whether every upstream has said what it serves; before that nobody knows what there is not."""
        return all(one.answer for one in self._upstreams.values())

    def turn(self, match: Match) -> list[str]:
        """Whom to try for one call, in this order. Equals are used in turn; who is leaving is left out."""
        start = next(self._turn) % len(match.upstreams)
        rotated = match.upstreams[start:] + match.upstreams[:start]
        able = [one for one in rotated if self._upstreams[one].state in _CHOICE]
        return sorted(able, key=lambda one: _CHOICE[self._upstreams[one].state])

    def failed(self, address: str, error: Exception) -> None:
        """A call found that an upstream does not answer: the next ones skip it until it was seen again."""
        upstream = self._upstreams[address]
        if upstream.state != "leaving":
            upstream.seen("silent", type(error).__name__)
        upstream.look.set()

    def documents(self) -> list[dict[str, Any]]:
        """The OpenAPI documents of all upstreams."""
        return [one.answer.openapi for one in self._upstreams.values() if one.answer]

    async def look(self) -> None:
        """Look at every upstream once: a gateway that starts among others knows them before it takes calls."""
        async with self._client() as client:
            await asyncio.gather(*(self._see(client, one) for one in self._upstreams.values()))

    async def keep(self) -> None:
        """Look at the upstreams, each by itself so that a silent one holds up no other, until cancelled."""
        async with self._client() as client, asyncio.TaskGroup() as looks:
            for upstream in self._upstreams.values():
                looks.create_task(self._watch(client, upstream))

    async def check(self) -> Health:
        """Degraded while an upstream takes no calls. Addresses stand in the details, for known callers alone."""
        away = {one.address: one.reason for one in self._upstreams.values() if one.state != "ready"}
        if away:
            reason = f"{len(away)} of {len(self._upstreams)} upstreams take no calls"
            return Health(status="degraded", reason=reason, details=away)
        return Health(status="healthy", details={"ways": len(self._compiled)})

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=ANSWER_S, trust_env=False, auth=self._auth)

    async def _watch(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        while True:
            await self._see(client, upstream)
            upstream.look.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await upstream.look.wait()
                await asyncio.sleep(LOOK_S / 4)  # calls fail by the hundred: one look is enough
            except TimeoutError:
                continue

    async def _see(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        now = asyncio.get_running_loop().time()
        try:
            if upstream.state == "silent" or now >= upstream.renew_at:
                await self._ask(client, upstream)
                upstream.renew_at = now + RENEW_S
            answer = await client.get(f"{upstream.address}/ready")
            said = msgspec.json.decode(answer.content, type=Readiness)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            upstream.seen("silent", type(error).__name__)
            return
        reason = "; ".join(f"{name}: {fault}" for name, fault in sorted(said.faults.items()))
        state: State = "leaving" if "runtime" in said.faults else "unwell"
        upstream.seen("ready" if said.ready else state, reason)

    async def _ask(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        answer = await client.get(f"{upstream.address}/ways")
        answer.raise_for_status()
        upstream.answer = msgspec.json.decode(answer.content, type=Answer)
        self._compile()

    def _compile(self) -> None:
        """Ways in the order of the processes that have them: the order in which each would try them itself."""
        ways: dict[tuple[str, str], tuple[Way, list[str]]] = {}
        for upstream in self._upstreams.values():
            for way in upstream.answer.ways if upstream.answer else ():
                _, serving = ways.setdefault((way.method, way.path), (way, []))
                serving.append(upstream.address)
        self._compiled = [
            (compile_path(way.path)[0], Match(tuple(serving), way))
            for way, serving in ways.values()
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
