"""One camera's stream: takes its lease, keeps it read, and says what comes of it.

An epoch's number is stored before anything is said under it. After a restart the first thing said is how long the
stream was away.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from services.ingest import store
from services.ingest.announcer import Announcer
from services.ingest.domain import SECOND, STEADY, Attempts, State, Trouble, judge, opening_time
from services.ingest.epochs import Epoch
from services.ingest.hosts import Picture
from services.ingest.orders import Refused, polygons
from services.ingest.wire import Failed, Opened, Passed
from shared.db.leases import LeaseLost, fence
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.event import Envelope
    from schemas.events.camera_configured import CameraConfigured
    from services.ingest.hosts import Hosts, Session
    from services.ingest.leases import CameraLeases
    from services.ingest.orders import Orders
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.db.leases import Lease
    from shared.metrics import Metrics
    from shared.traces.port import Spans

GRACE_S = 3.0
"""A reader times out by itself; one that does not even say so within this time more is stuck."""
STARTING_S = 8.0
"""So long a reader process may take to start on a busy machine."""
WAITING_S = 75.0
"""So long a source that is no live camera may show nothing: one picture a minute is slow, not stuck."""
SKIP = SECOND
"""A simulated camera goes on this much after its last stored position."""

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What all streams of this process share."""

    hosts: Hosts
    orders: Orders
    leases: CameraLeases
    database: Database
    publisher: Publisher
    clock: Clock
    metrics: Metrics
    spans: Spans
    chance: Callable[[], float]
    opening: float  # seconds in which a reader has its first picture, or gives up by itself
    patience: float  # seconds without data after which a reader gives up by itself


class Stream:
    """The stream of one camera. `run` until cancelled; `close` when the camera is removed or changed."""

    def __init__(self, document: CameraConfigured, studio: Studio) -> None:
        self.camera = document.camera
        self.document = document
        self.state: State = "connecting"
        self.reason = ""
        self._studio = studio
        self._says = Announcer(document.camera, studio.publisher, studio.clock, studio.spans)
        self._lease: Lease | None = None
        self._session: Session | None = None
        self._attempts = Attempts()
        self._epoch: Epoch | None = None  # the open one
        self._past: Epoch | None = None  # the one before
        self._number = 0  # of the newest epoch
        self._last_at = -1
        self._position = 0
        self._shown = False

    @property
    def mark(self) -> store.Mark | None:
        """How far the stream has come, to be stored; None while it is not open."""
        if self._epoch is None:
            return None
        return store.Mark(self.camera, self._epoch.lease, self._epoch.last_at, self._epoch.position)

    @property
    def last_mark(self) -> store.Mark | None:
        """How far the stream came before it was stopped; None where it was never open under our lease."""
        past = self._past
        if past is None or self._lease is None or past.lease != self._lease.generation:
            return None
        return store.Mark(self.camera, past.lease, past.last_at, past.position)

    @property
    def held(self) -> bool:
        """Whether this process reads the camera, or says why it does not."""
        return self._lease is not None

    def follow(self, document: CameraConfigured) -> None:
        """Use a changed document that needs no other connection."""
        self.document = document
        if self._session is not None:
            self._session.adjust(document.detect.rate, *polygons(document))

    def figures(self, seconds: float) -> Envelope | None:
        """The reader's figures of the last `seconds`, while pictures come."""
        if self._epoch is None:
            return None
        return self._status(self._epoch.rate(seconds))

    async def run(self) -> None:
        """Whenever the camera's lease is ours, keep it read; hand it over when another process should."""
        leases = self._studio.leases
        while True:
            self._lease = lease = await leases.take(self.camera)
            reading = asyncio.create_task(self._keep_reading(lease))
            over = asyncio.create_task(leases.until_over(self.camera))
            try:
                await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    await reading
                    await over  # a film that has ended stays ours
            finally:
                await _cancelled(reading, over)
                self._leave()
                self._measure(None)
            await self._step_down(lease)

    async def close(self, reason: str) -> None:
        """Say that the stream is over and give the lease back; `run` must have been cancelled before."""
        lease = self._lease
        if lease is None:
            return
        if self._number:
            await self._close_epoch(lease, reason)
        self._lease = None
        await self._studio.leases.release(self.camera, lease)

    async def _close_epoch(self, lease: Lease, reason: str) -> None:
        if self.state != "ended":
            await self._says.closed(self._number, lease.generation, at=self._last_at, reason=reason)
        with contextlib.suppress(LeaseLost):
            async with self._studio.database.transaction() as tx:
                await store.finish(tx, lease, self.camera, "closed", self._last_at)

    async def _step_down(self, lease: Lease) -> None:
        """Nothing is said: whoever reads next says how long it took."""
        mark, self._lease, self._past = self.last_mark, None, None
        self._attempts, self._shown, self.state = Attempts(), False, "connecting"
        await self._studio.leases.release(self.camera, lease, mark)

    async def _become(self, state: State, reason: str = "") -> None:
        """Show a state, where it is another one than before, and as long as we speak for the camera."""
        lease = self._lease
        if lease is None or (self._shown and (state, reason) == (self.state, self.reason)):
            return
        self.state, self.reason = state, reason
        self._measure(state)
        with contextlib.suppress(LeaseLost):
            async with self._studio.database.transaction() as tx:
                await fence(tx, lease)
                await tx.add([self._status()])
            self._shown = True

    def _measure(self, state: State | None) -> None:
        """The camera's gauges; a camera that nobody here shall read has none, or it would look broken for ever."""
        metrics = self._studio.metrics
        if state in (None, "disabled", "ended"):
            metrics.camera_ages.forget(self.camera)
            metrics.camera_up.remove(self.camera)
        else:
            metrics.camera_up.labels(self.camera).set(state == "online")

    async def _keep_reading(self, lease: Lease) -> None:
        if not self.document.enabled:
            return await self._become("disabled")
        start = await self._take_over(lease)
        while start is not None:
            number = self._number
            trouble = await self._attempt(lease, start)
            if trouble is None:
                return await self._end(lease)
            await asyncio.sleep(await self._consider(trouble))
            if self._number != number:
                start = self._position + SKIP
        return None

    async def _take_over(self, lease: Lease) -> int | None:
        """Say what is to be said of the time before; where to begin in the film, or None where it was over."""
        async with self._studio.database.read() as reader:
            before = await store.load(reader, self.camera)
        if before is None:
            return 0
        self._number, self._last_at = before.epoch, before.last_at
        if before.state == "open":
            former = self._studio.leases.former(self.camera)
            ours = former in ("", lease.owner)
            why = "ingest was restarted" if ours else f"ingest process {former} left the camera"
            await self._say_interrupted(lease, why)
        if before.url != self.document.url or before.state == "closed":
            return 0
        if before.state == "ended":
            await self._end(lease)
            return None
        return before.position + SKIP

    async def _attempt(self, lease: Lease, start: int) -> Trouble | None:
        """One connection, from beginning to end; None where the film is over."""
        try:
            if not self._attempts.failed:
                await self._become("connecting")
            order = await self._studio.orders.order(self.document, start)
            self._session = self._studio.hosts.open(self.camera, order)
            trouble = await self._watch(self._session, lease)
        except Refused as error:
            trouble = error.trouble
        except (LeaseLost, Unavailable) as error:
            trouble = Trouble("interrupted", str(error))
        finally:
            stood = self._leave()
        outcome = trouble.kind if trouble else "ended"
        self._studio.metrics.camera_connects.labels(self.camera, outcome).inc()
        if trouble is not None and stood is not None:
            await self._say_interrupted(lease, trouble.reason)
            self._attempts = Attempts() if stood >= STEADY else self._attempts
        return trouble

    async def _watch(self, session: Session, lease: Lease) -> Trouble | None:
        """Follow what a reader says, until the end or trouble."""
        quiet = self._studio.opening + STARTING_S
        while True:
            try:
                item = await session.next(quiet)
            except TimeoutError:
                self._studio.hosts.suspect(session)
                return Trouble("timeout", f"nothing came for {quiet:.0f} s")
            if isinstance(item, Opened):
                await self._begin(item, lease, session)
                quiet = (self._studio.patience if item.live else WAITING_S) + GRACE_S
            elif isinstance(item, Picture) and self._epoch is not None:
                await self._epoch.show(item, self._says, self._studio.metrics)
            elif isinstance(item, Passed) and self._epoch is not None:
                await self._epoch.stand(item, self._says)
            else:
                return Trouble(item.kind, item.reason) if isinstance(item, Failed) else None

    async def _begin(self, opened: Opened, lease: Lease, session: Session) -> None:
        """A new epoch: stored first, then said."""
        clock = self._studio.clock
        last_at = self._epoch.last_at if self._epoch else self._last_at
        age = round(clock.monotonic() * SECOND) - opened.first_at
        opened_at = opening_time(clock.now(), min(age, SECOND), last_at)
        row = store.Stream(
            camera=self.camera,
            epoch=1,
            lease=lease.generation,
            state="open",
            url=self.document.url,
            opened_at=opened_at,
            last_at=opened_at,
            position=opened.position,
        )
        async with self._studio.database.transaction() as tx:
            await fence(tx, lease)
            self._number = await store.begin(tx, row)
        self._epoch = Epoch(row, self._number, opened, session)
        await self._says.opened(self._epoch)
        await self._become("online")

    def _leave(self) -> int | None:
        """Hang up; how long the epoch stood, in microseconds, or None where none was open."""
        if self._session is not None:
            self._session.close()
            self._session = None
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return None
        self._past = epoch
        self._last_at, self._position = epoch.last_at, epoch.position
        return epoch.last_at - epoch.opened_at

    async def _say_interrupted(self, lease: Lease, reason: str) -> None:
        until = self._studio.clock.now()
        await self._says.interrupted(
            self._number, lease.generation, since=self._last_at, until=until, reason=reason
        )

    async def _end(self, lease: Lease) -> None:
        """The film is over. Said again after a restart: the first time may have been lost with the process."""
        reason = "it has been played to its end"
        await self._says.closed(self._number, lease.generation, at=self._last_at, reason=reason)
        with contextlib.suppress(LeaseLost):
            async with self._studio.database.transaction() as tx:
                await store.finish(tx, lease, self.camera, "ended", self._last_at)
        await self._become("ended", reason)

    async def _consider(self, trouble: Trouble) -> float:
        """Count a failure, show it, and say how many seconds to wait."""
        now = self._studio.clock.now()
        self._attempts = self._attempts.after(trouble, now)
        verdict = judge(self._attempts, trouble, now, self._studio.chance())
        _log.info(
            "camera_trouble",
            camera=self.camera,
            kind=trouble.kind,
            reason=trouble.reason,
            attempt=self._attempts.failed,
            again_in_s=round(verdict.delay_s, 1),
        )
        with contextlib.suppress(Unavailable):
            await self._become(verdict.state, trouble.reason)
        return verdict.delay_s

    def _status(self, fps: float = 0.0) -> Envelope:
        epoch = self._epoch or self._past
        return self._says.status(
            self.state,
            self.reason,
            epoch=self._number,
            lease=self._lease.generation if self._lease else 0,
            width=epoch.opened.width if epoch else 0,
            height=epoch.opened.height if epoch else 0,
            fps=fps,
            sent=epoch.sent if epoch else 0,
            dropped=epoch.dropped if epoch else 0,
            attempt=self._attempts.failed,
        )


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
