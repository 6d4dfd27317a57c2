"""Walks the routes of an app: every one has a door, and no method and path occurs twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.routing import iter_route_contexts

from shared.errors import Setup
from shared.security.doors import Door, door_of, public

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from starlette.routing import BaseRoute


@dataclass(frozen=True)
class Entry:
    """One way in. `method` is WEBSOCKET for a WebSocket; `scope` None: any known caller."""

    method: str
    path: str
    scope: str | None
    public: bool


def walk(routes: Sequence[BaseRoute]) -> Iterator[Entry]:
    """Every way in.

    Raises:
        Setup: a route has no door.
    """
    for context in iter_route_contexts(routes):
        path = context.path or "?"
        dependant = getattr(context, "dependant", None)
        door = None if dependant is None else door_of(dependant)
        if door is None:
            raise Setup(
                f"the route {path} has no door; give it Depends(require(<scope>)) or Depends(public)"
            )
        scope = door.scope if isinstance(door, Door) else None
        for method in sorted(context.methods or {"WEBSOCKET"}):
            yield Entry(method, path, scope, door is public)


def check_doors(routes: Sequence[BaseRoute]) -> None:
    """Refuse an app with an open or a doubled way in.

    Raises:
        Setup: names the route.
    """
    _check_unique(walk(routes))


def _check_unique(entries: Iterable[Entry]) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        place = (entry.method, _shape(entry.path))
        if place in seen:
            raise Setup(f"{entry.method} {entry.path} is served twice; no pair may occur twice")
        seen.add(place)


def _shape(path: str) -> str:
    """The path without the names of its parameters: `/a/{x}` and `/a/{y}` are the same way in."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))
