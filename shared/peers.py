"""How our services ask each other: in one process over the app itself, else through the gateway; always with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakSet

import httpx
import structlog

from shared.errors import Setup, Unauthenticated, Unavailable
from shared.service import Health
from shared.telemetry import correlation_id, traceparent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import ASGIApp

    from shared.clock import Clock
    from shared.security.tokens import Issuer
    from shared.settings import PlatformSettings

log = structlog.get_logger(component="peers")
REFUSED = (400, 401, 403)
_KEPT_S = 60.0  # a service token lives twice as long


class Peers:
    """Makes clients for the services of this installation."""

    def __init__(self, settings: PlatformSettings, clock: Clock) -> None:
        self.issuer: Issuer | None = None  # set once the keys are open
        self._settings = settings
        self._clock = clock
        self._app: ASGIApp | None = None
        self._here: frozenset[str] = frozenset()
        self._clients: WeakSet[httpx.AsyncClient] = WeakSet()
        self._tokens: dict[str, tuple[float, str]] = {}
        self._asking: httpx.AsyncClient | None = None

    def serve(self, names: frozenset[str], app: ASGIApp) -> None:
        """Say which services this process serves itself, and by which app."""
        self._here = names
        self._app = app

    def client(self, service: str, *, caller: str) -> httpx.AsyncClient:
        """A client of `service` that calls as `caller`. Closed by its user, at the latest with the platform."""
        client = httpx.AsyncClient(
            transport=self._transport(service),
            base_url=self._base(service),
            auth=_ServiceAuth(self, caller),
            timeout=10.0,
            trust_env=False,
        )
        self._clients.add(client)
        return client

    async def token(self, caller: str) -> str:
        """A token for calls of `caller`, kept until shortly before its end.

        Raises:
            Unavailable: the gateway gives none now.
            Unauthenticated: it knows us no more.
        """
        until, token = self._tokens.get(caller, (0.0, ""))
        if self._clock.monotonic() >= until:
            token = self.issuer.service(caller) if self.issuer else await self._granted()
            self._tokens[caller] = (self._clock.monotonic() + _KEPT_S, token)
        return token

    async def key_document(self) -> Mapping[str, Any]:
        """The gateway's published keys.

        Raises:
            Unavailable: the gateway does not answer.
        """
        return await self._ask_gateway("GET", "/.well-known/jwks.json", {})

    async def revoked(self, session: str) -> bool:
        """Whether the gateway has revoked a session; asked where the cache cannot tell.

        Raises:
            Unavailable: the gateway does not answer.
        """
        if self._asking is None:
            self._asking = self.client("gateway", caller="guard")
        try:
            answer = await self._asking.get(f"/api/v1/revocations/{quote(session, safe='')}")
            answer.raise_for_status()
            return bool(answer.json()["revoked"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise Unavailable(
                f"whether this session was revoked can be told by neither the cache nor the gateway at "
                f"{self._settings.gateway_url} now ({type(error).__name__}); try again"
            ) from None

    async def introduce(self) -> None:
        """Try our client id at the gateway. One that does not answer now may yet come: nothing waits for it.

        Raises:
            Setup: the gateway knows no such client, or the secret is another.
        """
        try:
            await self._granted()
        except Unauthenticated as error:
            raise Setup(str(error)) from None
        except Unavailable as error:
            log.warning("gateway_silent", reason=str(error))

    async def check(self) -> Health:
        """Whether the gateway gives us tokens; for `/health`. What does not ask others goes on without."""
        try:
            await self.token("vantage")
        except (Unavailable, Unauthenticated) as error:
            return Health(status="degraded", reason=str(error))
        return Health(status="healthy")

    async def close(self) -> None:
        """Close every client that is still open."""
        for client in tuple(self._clients):
            await client.aclose()

    def _transport(self, service: str) -> httpx.AsyncBaseTransport:
        if service in self._here and self._app is not None:
            return httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        return httpx.AsyncHTTPTransport()

    def _base(self, service: str) -> str:
        return f"http://{service}" if service in self._here else self._settings.gateway_url

    async def _granted(self) -> str:
        settings = self._settings
        secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id or "",
            "client_secret": secret,
        }
        try:
            answer = await self._ask_gateway("POST", "/oauth2/token", form)
        except httpx.HTTPStatusError:
            raise Unauthenticated(
                f"VANTAGE_CLIENT_ID={settings.client_id}: the gateway at {settings.gateway_url} refuses this client "
                "or its VANTAGE_CLIENT_SECRET; make one there with `vantage client add`"
            ) from None
        return str(answer["access_token"])

    async def _ask_gateway(self, method: str, path: str, form: dict[str, str]) -> dict[str, Any]:
        """Ask; `httpx.HTTPStatusError` where the answer is that we may not."""
        url = self._settings.gateway_url
        try:
            async with httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False) as client:
                answer = await client.request(method, path, data=form or None)
                if answer.status_code in REFUSED:
                    answer.raise_for_status()
                elif not answer.is_success:
                    raise ValueError(answer.status_code)
                document: dict[str, Any] = answer.json()
                return document
        except (httpx.TransportError, ValueError) as error:
            raise Unavailable(
                f"the gateway at {url} does not answer ({type(error).__name__}); "
                "is it running, and is VANTAGE_GATEWAY_URL right?"
            ) from None


class _ServiceAuth(httpx.Auth):
    """Signs each request as a service, and hands the trace on."""

    def __init__(self, peers: Peers, caller: str) -> None:
        self._peers = peers
        self._caller = caller

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the token and the ids of the work at hand."""
        request.headers["Authorization"] = f"Bearer {await self._peers.token(self._caller)}"
        for name, value in (("traceparent", traceparent()), ("X-Request-ID", correlation_id())):
            if value is not None:
                request.headers[name] = value
        yield request
