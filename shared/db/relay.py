"""The relay: moves a database's outbox to the log, in order, and lets go of a row only when the log has it.

One relay a database works at a time, under a fenced lease: its owner's name is stable, so a restarted process
takes over at once, and another one when the lease was not renewed for `TTL_S` seconds. It is renewed beside the work,
however long a send takes; whose lease ran out or went to another is cut off in the middle. A relay killed between the
log's acknowledgement and the removal says the same events again under the same ids; inboxes know them.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from shared.db import outbox
from shared.db.engine import DatabaseUnavailable
from shared.db.leases import Lease, LeaseLost, Leases, fence
from shared.errors import Transient
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from typing import Any

    from sqlalchemy import Row

    from schemas.event import Envelope
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database

LEASE = "outbox-relay"
TTL_S = 10.0  # so long alerts wait when the holder is killed and not started again
RENEWALS = 3  # within that time: two may fail, and a clock may be a few seconds ahead
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
        ttl_s: float = TTL_S,
        said: Callable[[Sequence[Envelope], Sequence[int]], None] | None = None,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._owner = owner
        self._clock = clock
        self._batch = batch
        self._poll_s = poll_s
        self._ttl_s = ttl_s
        self._said = said  # told what the log has acknowledged, and since when it waited
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
        async with self._leased() as lease:
            self._trouble = ""
            if lease is not None:
                async with self._database.listening():
                    await self._hold(lease)
        if lease is None:
            await asyncio.sleep(self._poll_s)

    async def flush(self) -> bool:
        """Move what is there now, for a drain; False when another owner's relay has the lease."""
        done = False
        async with self._leased() as lease:
            if lease is not None:
                while await self.move(lease) == self._batch:
                    pass
                done = True
        return done

    async def move(self, lease: Lease) -> int:
        """Publish the oldest rows, await the acknowledgement, remove them; returns how many.

        Raises:
            Transient: the log did not acknowledge in time; the rows stay.
            LeaseLost: another relay has taken over; the rows are its business now.
        """
        rows = await self._oldest()
        if rows:
            envelopes = [outbox.envelope(row) for row in rows]
            await self._publisher.publish(envelopes)
            if self._said is not None:
                self._said(envelopes, [row.added_at for row in rows])
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

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[Lease | None]:
        """Hold the lease for the block, None: it is another's. The block is cut off where the lease is lost or ran out.

        It runs out by our own monotonic clock, counted from before we asked: no later than in the database.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ttl_s
        lease = await self._leases.take(LEASE, self._owner, self._ttl_s)
        if lease is None:
            yield None
            return
        bound = asyncio.timeout_at(until)
        try:
            async with bound:
                keeper = asyncio.create_task(self._keep(lease, bound))
                try:
                    yield lease
                finally:
                    keeper.cancel()
                    await asyncio.gather(keeper, return_exceptions=True)
        except (TimeoutError, LeaseLost) as error:
            if isinstance(error, TimeoutError) and not bound.expired():
                raise
            self._log.warning("relay_lease_lost", generation=lease.generation)
        finally:
            await self._give_back(lease)

    async def _keep(self, lease: Lease, bound: asyncio.Timeout) -> None:
        """Renew the lease; `bound` is moved on with it, and is over at once when another has taken it."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._ttl_s / RENEWALS)
            asked = loop.time()
            try:
                renewed = await self._leases.renew(lease, self._ttl_s)
            except Transient as error:
                self._log.warning("relay_lease_not_renewed", reason=str(error))
                continue
            bound.reschedule(asked if renewed is None else asked + self._ttl_s)

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

    async def _oldest(self) -> Sequence[Row[Any]]:
        async with self._database.read() as reader:
            return (await reader.execute(outbox.oldest(self._batch))).all()


def _jitter(failures: int) -> float:
    """Seconds to wait after so many failures: full jitter under a doubling cap."""
    return random.uniform(0.05, min(RETRY_S, 0.1 * 2.0 ** min(failures, 10)))  # noqa: S311 - it only spreads retries
