"""Who reads which camera: a lease for each, taken alone, renewed together once every few seconds.

The same turn of the clock stores how far each stream has come, so that a restart knows what it missed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from services.ingest import store
from shared.db.leases import Leases
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.db.leases import Lease

TURN_S = 1.0
TURNS_TO_RENEWAL = 3
WAIT_S = 2.0

_log = structlog.get_logger()


class CameraLeases:
    """The leases that this process holds. `marks` says how far its streams have come."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        owner: str,
        ttl: float,
        marks: Callable[[], Sequence[store.Mark]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._ttl = ttl
        self._marks = marks
        self._leases = Leases(database, clock)
        self._held: dict[str, Lease] = {}
        self._lost: dict[str, asyncio.Event] = {}

    async def take(self, camera: str) -> Lease:
        """Wait until this camera's lease is ours. Its generation grows by one."""
        name = store.LEASE_PREFIX + camera
        while True:
            lease = await self._leases.take(name, self._owner, self._ttl)
            if lease is not None:
                self._held[name] = lease
                self._lost[name] = asyncio.Event()
                return lease
            await asyncio.sleep(WAIT_S)

    async def until_lost(self, lease: Lease) -> None:
        """Wait until another process has this lease, which may be never."""
        await self._lost[lease.name].wait()

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if it is still ours."""
        if self._held.get(lease.name) == lease:
            del self._held[lease.name]
        await self._leases.release(lease)

    async def keep(self) -> None:
        """Store marks each second and renew leases every third: the job of this class."""
        turn = 0
        while True:
            await asyncio.sleep(TURN_S)
            turn += 1
            await self.turn(renew=turn % TURNS_TO_RENEWAL == 0)

    async def turn(self, *, renew: bool) -> None:
        """One turn: store marks, and renew leases where asked."""
        try:
            await self._turn(renew=renew)
        except Unavailable as error:
            # Not renewed in time it is lost, and its loss is noticed when the database is back.
            _log.warning("marks_not_stored", reason=str(error))

    async def _turn(self, *, renew: bool) -> None:
        marks = self._marks()
        names = list(self._held) if renew else []
        if not marks and not names:
            return
        until = self._clock.now() + round(self._ttl * 1_000_000)
        async with self._database.transaction() as tx:
            await store.note(tx, marks)
            ours = await store.renew(tx, self._owner, names, until)
        for name in names:
            self._check(name, ours.get(name))

    def _check(self, name: str, generation: int | None) -> None:
        lease = self._held.get(name)
        if lease is not None and lease.generation != generation:
            _log.warning("lease_lost", lease=name, generation=lease.generation)
            del self._held[name]
            self._lost[name].set()
