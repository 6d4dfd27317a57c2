"""The guard behind every door: reads the credentials of a connection and says who calls."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import Forbidden, Unauthenticated
from shared.security.principal import LOCAL_OWNER, Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import HTTPConnection

    from shared.security.revocations import Revocations
    from shared.security.tokens import Claims, Verifier

    Limit = Callable[[Principal], Awaitable[None]]
    Witness = Callable[[HTTPConnection, Principal, str, str], Awaitable[None]]

ACCESS_COOKIE = "vantage_access"
REFRESH_COOKIE = "vantage_refresh"
CSRF_COOKIE = "vantage_csrf"
CSRF_HEADER = "X-CSRF-Token"
LOCAL_OWNER_KEY = "vantage.local_owner"  # set in the scope by the Unix socket's listener alone
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Says who calls: the local owner, a bearer of a token, or a browser with its cookie."""

    def __init__(self, verifier: Verifier, revocations: Revocations) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._limits: list[Limit] = []
        self._witnesses: list[Witness] = []

    def limit(self, check: Limit) -> None:
        """Have every caller with credentials pass `check` as well; it refuses by an error."""
        self._limits.append(check)

    def witness(self, told: Witness) -> None:
        """Have `told` hear of every caller who lacks a scope: connection, caller, scope, and path of the way."""
        self._witnesses.append(told)

    async def check_scope(
        self,
        connection: HTTPConnection,
        principal: Principal,
        scope: str | None,
        path: str | None = None,
    ) -> None:
        """Hold that a caller has a scope; None needs none. `path`: of the way, where that is not the route's own.

        Raises:
            Forbidden: the caller lacks it.
        """
        if scope is None or principal.may(scope):
            return
        found = path or str(getattr(connection.scope.get("route"), "path", "unmatched"))
        for told in self._witnesses:
            await told(connection, principal, scope, found)
        raise Forbidden(f"this needs the scope {scope}")

    async def principal(self, connection: HTTPConnection) -> Principal:
        """The caller of a connection.

        Raises:
            Unauthenticated: there are no credentials, or they are not valid or were revoked.
            Forbidden: a browser's unsafe call that does not prove that our own page made it.
        """
        if connection.scope.get(LOCAL_OWNER_KEY):
            return LOCAL_OWNER
        header = connection.headers.get("authorization")
        if header is not None:
            return (await self._valid(_bearer(header))).principal
        cookie = connection.cookies.get(ACCESS_COOKIE)
        if cookie is None:
            raise Unauthenticated("sign in, or send an access token as bearer")
        claims = await self._valid(cookie)
        if connection.scope["type"] == "websocket":
            check_origin(connection.headers)
        elif connection.scope["method"] not in SAFE:
            check_origin(connection.headers, required=False)
            check_csrf(connection, claims.csrf)
        return claims.principal

    async def alive(self, principal: Principal) -> bool:
        """Whether a caller whose WebSocket is open may still listen; asked again at each keep-alive.

        Raises:
            Unavailable: nobody can tell now; do not go on.
        """
        return not await self._revocations.revoked(principal)

    async def _valid(self, token: str) -> Claims:
        claims = await self._verifier.verify(token)
        if await self._revocations.revoked(claims.principal):
            raise Unauthenticated("the access token was revoked")
        for check in self._limits:
            await check(claims.principal)
        return claims


def check_origin(headers: Mapping[str, str], *, required: bool = True) -> None:
    """Refuse a browser's call that another site's page made.

    Raises:
        Forbidden: the Origin is foreign, or missing where browsers always send it.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is None:
        if required:
            raise Forbidden("the Origin header is missing")
        return
    if not host or urlsplit(origin).netloc.lower() != host.lower():
        raise Forbidden("the call comes from another site's page")


def check_csrf(connection: HTTPConnection, digest: str | None) -> None:
    """Refuse an unsafe call whose header does not repeat the CSRF cookie that belongs to the session.

    Raises:
        Forbidden: the header is missing or wrong.
    """
    cookie = connection.cookies.get(CSRF_COOKIE, "")
    header = connection.headers.get(CSRF_HEADER, "")
    same = bool(cookie) and hmac.compare_digest(cookie.encode(), header.encode())
    if not same or digest is None or not hmac.compare_digest(csrf_digest(cookie), digest):
        raise Forbidden(f"send the value of the cookie {CSRF_COOKIE} in the header {CSRF_HEADER}")


def new_csrf() -> str:
    """A fresh CSRF value for a session."""
    return secrets.token_urlsafe(24)


def csrf_digest(value: str) -> str:
    """What the access token says about the CSRF value, so that a planted cookie does not fit."""
    return hashlib.sha256(b"csrf" + value.encode()).hexdigest()[:32]


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("send the access token as `Authorization: Bearer <token>`")
    return token.strip()
