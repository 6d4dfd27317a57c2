"""Doors: what a route demands of its caller. The runtime refuses to start with a route that has none."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from shared import audit
from shared.errors import VantageError
from shared.security.principal import Principal
from shared.security.scopes import SCOPES

if TYPE_CHECKING:
    from shared.security.guard import Guard

POLICY_VIOLATION = 1008


class Door:
    """A dependency that a route's caller must pass. `scope` None: any known caller."""

    def __init__(self, scope: str | None) -> None:
        if scope is not None and scope not in SCOPES:
            raise ValueError(f"unknown scope {scope!r}; add it to shared/security/scopes.py")
        self.scope = scope

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Who calls.

        Raises:
            Unauthenticated: unknown caller.
            Forbidden: the caller lacks the scope.
        """
        guard: Guard = connection.app.state.guard
        principal = await guard.principal(connection)
        await guard.check_scope(connection, principal, self.scope)
        connection.scope["vantage.principal"] = principal
        audit.acts(principal)
        return principal


class SocketDoor(Door):
    """The door of a WebSocket route: refuses before the handshake; browsers must come from our own page."""

    async def __call__(self, connection: WebSocket) -> Principal:  # type: ignore[override]  # FastAPI hands a route what it is
        """Who calls; else the handshake is answered with 403.

        Raises:
            WebSocketException: unknown caller, foreign page, or the scope is missing.
        """
        return await refusing(super().__call__(connection))


async def refusing(answer: Awaitable[Principal]) -> Principal:
    """The answer of a door, its refusal as a WebSocket's.

    Raises:
        WebSocketException: the door stays shut.
    """
    try:
        return await answer
    except VantageError as error:
        raise WebSocketException(POLICY_VIOLATION, str(error)) from None


def require(scope: str) -> Door:
    """A door for callers with this scope: `principal: Principal = Depends(require("cameras:read"))`."""
    return Door(scope)


def require_ws(scope: str) -> SocketDoor:
    """The same for WebSocket routes, with the Origin check for browsers."""
    return SocketDoor(scope)


signed_in = Door(None)
"""A door for every known caller."""


async def public() -> None:
    """No door: anyone. Such routes stand on the reviewed list in tests/unit/security."""


PUBLIC = [Depends(public)]
SignedIn = Annotated[Principal, Depends(signed_in)]


def door_of(dependant: Dependant) -> Callable[..., Awaitable[Any]] | None:
    """The door among a route's dependencies, at any depth; None where it has none."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Door) or needed.call is public:
            return needed.call
        deeper = door_of(needed)
        if deeper is not None:
            return deeper
    return None
