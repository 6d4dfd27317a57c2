"""Who calls: the answer of the doors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.security.scopes import ROLES


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A known caller. `subject` is stable and goes into records; `name` is for people."""

    subject: str
    kind: Literal["user", "client", "service", "owner"]
    name: str
    scopes: frozenset[str]
    session: str | None = None  # of a signed-in browser; revoked at sign-out
    issued: int | None = None  # seconds since the epoch
    expires: int | None = None  # seconds since the epoch; open WebSockets end with it

    def may(self, scope: str) -> bool:
        """Whether this caller holds the scope."""
        return scope in self.scopes


LOCAL_OWNER = Principal(
    subject="owner", kind="owner", name="local owner", scopes=frozenset(ROLES["admin"])
)
"""Who can open the owner-only Unix socket owns the process, its files and keys already."""
