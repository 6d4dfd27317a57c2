"""What was revoked before its time: sessions and programs, remembered for as long as their tokens can live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from shared.cache.port import CacheUnavailable
from shared.security.tokens import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.cache.port import Cache, ReadRoll
    from shared.security.principal import Principal

    Authority = Callable[[str], Awaitable[bool]]
    """Whether a session was revoked, from who knows for certain: the gateway's database. Raises Unavailable."""

REMEMBERED_S = LIFETIME + 60
WHOLE_S = 5.0  # the roll proves a no for so long after the gateway has looked it over
_ROLL = "revoked"
log = structlog.get_logger(component="security")


class Revocations:
    """Asked at every call: the cache that all processes share, and where that cannot tell, the gateway.

    Neither being there is an error (503), never a yes.
    """

    def __init__(self, cache: Cache, authority: Authority) -> None:
        self._cache = cache
        self._authority = authority

    def rely_on(self, authority: Authority) -> None:
        """Ask this one where the cache cannot tell: the gateway's own process has the database."""
        self._authority = authority

    async def revoke(self, session: str) -> None:
        """Refuse every token of a session from now on. The gateway has stored that before."""
        try:
            await self._cache.enlist(_ROLL, session, REMEMBERED_S)
        except CacheUnavailable as error:  # `share` catches up; until then the roll is not whole
            log.warning("revocation_not_shared_yet", reason=str(error))

    async def revoked(self, principal: Principal) -> bool:
        """Whether the token that said so is revoked.

        Raises:
            Unavailable: nobody can tell now.
        """
        session = principal.session
        if session is None:
            return False
        try:
            listed = await self._cache.listed(_ROLL, session)
        except CacheUnavailable:
            listed = None
        return await self._authority(session) if listed is None else listed

    async def share(self, stored: ReadRoll) -> bool:
        """Bring the roll up to what is stored; the gateway does it all the time.

        Returns False where the cache is away or lost something meanwhile.
        """
        try:
            return await self._cache.restore(_ROLL, stored, WHOLE_S)
        except CacheUnavailable:
            return False
