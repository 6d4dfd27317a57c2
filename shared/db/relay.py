"""The relay: moves a database's outbox to the log, in order, and lets go of a row only when the log has it.

One relay a database works at a time, under a fenced lease: its owner's name is stable, so a restarted process
takes over at once. A relay killed between the log's acknowledgement and the removal says the same events again
under the same ids; inboxes know them.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from shared.db import outbox
from shared.db.engine import DatabaseUnavailable
from shared.db.leases import Lease, LeaseLost, Leases, fence
from shared.errors import Transient
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Row

    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database

LEASE = "outbox-relay"
TTL_S = 30.0
SEND_S = 20.0  # a send takes at most 15 s: the lease outlives every send begun under it
RETRY_S = 5.0
STALE_S = 60.0


class Relay:
    """Moves the outbox of `database` through `publisher`; `owner` is this process's stable name."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        *,
        owner: str,
        clock: Clock,
        batch: int = 500,
        poll_s: float = 1.0,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._owner = owner
        self._clock = clock
        self._batch = batch
        self._poll_s = poll_s
        self._leases = Leases(database, clock)
        self._log = structlog.get_logger().bind(service=database.service, component="relay")
        self._trouble = ""  # why the database did not let it work, at the last try

    async def run(self) -> None:
        """Work until cancelled; the lease is given back at the end. A full disk is waited out, not died of."""
        failures = 0
        while True:
            try:
                await self._work()
                failures, self._trouble = 0, ""
            except Transient as error:
                failures, self._trouble = failures + 1, str(error)
                self._log.warning("relay_waits", reason=str(error), failures=failures)
                await asyncio.sleep(_jitter(failures))

    async def _work(self) -> None:
        """Work while the lease is ours; wait a moment where it is another's."""
        lease = await self._leases.take(LEASE, self._owner, TTL_S)
        self._trouble = ""
        if lease is None:
            await asyncio.sleep(self._poll_s)
            return
        try:
            async with self._database.listening():
                await self._hold(lease)
        except LeaseLost:
            self._log.warning("relay_lease_lost", generation=lease.generation)
        finally:
            await self._give_back(lease)

    async def flush(self) -> bool:
        """Move what is there now, for a drain; False when another owner's relay has the lease."""
        lease = await self._leases.take(LEASE, self._owner, TTL_S)
        if lease is None:
            return False
        try:
            while await self.move(lease) == self._batch:
                lease = await self._renewed(lease)
        finally:
            await self._give_back(lease)
        return True

    async def move(self, lease: Lease) -> int:
        """Publish the oldest rows, await the acknowledgement, remove them; returns how many.

        Raises:
            Transient: the log did not acknowledge in time; the rows stay.
            LeaseLost: another relay has taken over; the rows are its business now.
        """
        rows = await self._oldest()
        if rows:
            await self._publisher.publish([outbox.envelope(row) for row in rows])
            async with self._database.transaction() as tx:
                await fence(tx, lease)
                await tx.execute(outbox.remove([row.id for row in rows]))
        return len(rows)

    async def check(self) -> Health:
        """Whether it can write, and how far the log is behind the database; for `/health`."""
        async with self._database.read() as reader:
            waiting, since = (await reader.execute(outbox.backlog())).one()
        age_s = 0.0 if since is None else (self._clock.now() - since) / 1_000_000
        details = {"waiting": waiting, "oldest_s": round(age_s, 1)}
        if self._trouble:
            return Health(status="unhealthy", reason=self._trouble, details=details)
        if age_s > STALE_S:
            return Health(
                status="degraded", reason="events wait to be put on the log", details=details
            )
        return Health(status="healthy", details=details)

    async def _hold(self, lease: Lease) -> None:
        failures = 0
        while True:
            lease = await self._renewed(lease)
            self._database.outbox_filled.clear()
            try:
                moved = await self.move(lease)
                failures = 0
            except DatabaseUnavailable:
                raise
            except Transient as error:
                failures += 1
                self._log.warning("relay_waits", reason=str(error), failures=failures)
                await asyncio.sleep(_jitter(failures))
                continue
            if moved < self._batch:
                await self._wait()

    async def _give_back(self, lease: Lease) -> None:
        """Release the lease. A database that is away must not turn a cancellation into another round: it expires."""
        try:
            await self._leases.release(lease)
        except Transient as error:
            self._log.info("relay_lease_kept", reason=str(error))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_s):
                await self._database.outbox_filled.wait()
        except TimeoutError:
            return

    async def _renewed(self, lease: Lease) -> Lease:
        if lease.expires_at - self._clock.now() > SEND_S * 1_000_000:
            return lease
        renewed = await self._leases.renew(lease, TTL_S)
        if renewed is None:
            raise LeaseLost(f"lease {lease.name} was taken from {lease.owner}")
        return renewed

    async def _oldest(self) -> Sequence[Row[Any]]:
        async with self._database.read() as reader:
            return (await reader.execute(outbox.oldest(self._batch))).all()


def _jitter(failures: int) -> float:
    """Seconds to wait after so many failures: full jitter under a doubling cap."""
    return random.uniform(0.05, min(RETRY_S, 0.1 * 2.0 ** min(failures, 10)))  # noqa: S311 - it only spreads retries
