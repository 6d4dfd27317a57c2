"""Who reads which camera. The cameras are spread over all ingest processes that share a database.

Every process has a row on the roll and renews it; each computes for itself which cameras it should hold (see
`domain.assign`), takes the leases of those that are free, and hands over those that another should hold. Views may
differ for a moment: then a camera stays where it is. That nobody reads beside another does not rest on them, nor on
clocks: each taking of a lease raises its generation, and whoever hears frames drops those of a lower one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import structlog

from services.ingest import store
from services.ingest.domain import SECOND, assign
from services.ingest.roster import Attention, Roster, Row, Sightings
from shared.db.engine import Transaction
from shared.db.leases import Lease
from shared.errors import Unavailable
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from services.ingest.domain import Member
    from shared.clock import Clock
    from shared.db.engine import Database

TURN_S = 1.0
RENEWAL = 0.3
"""Share of the ttl after which leases are renewed: two renewals may fail."""

_log = structlog.get_logger()


class Streams(Protocol):
    """The streams of this process."""

    def marks(self) -> Sequence[store.Mark]:
        """How far the open ones have come."""
        ...

    def configured(self) -> Mapping[str, bool]:
        """Every camera, and whether it is to be read; one that is switched off has a holder that says so."""
        ...


class CameraLeases:
    """The leases that this process holds. `room`: how many cameras it may read, None: any number."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        owner: str,
        ttl: float,
        streams: Streams,
        *,
        room: int | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._ttl = ttl
        self._streams = streams
        self._me = Row(owner, uuid4().hex, 1, room)
        self._attention = Attention(2 * TURN_S)
        self._roster = Roster(owner, ttl)
        self._renewals = Sightings()
        self._renewed_at = float("-inf")
        self._news = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Lease]] = {}
        self._held: dict[str, Lease] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._former: dict[str, str] = {}
        self._holders: Mapping[str, Lease] = {}
        self._asked: tuple[Mapping[str, bool], tuple[Member, ...]] = ({}, ())
        self._answer: Mapping[str, str] = {}
        self._enrolled = False
        self._displaced = False
        self._left = False

    async def take(self, camera: str) -> Lease:
        """Wait until this camera's lease is ours, and return it; its generation has grown by one."""
        held = self._held.get(camera)
        if held is not None:
            return held
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting[camera] = future
        self._news.set()
        try:
            return await future
        finally:
            if self._waiting.get(camera) is future:
                del self._waiting[camera]

    async def until_over(self, camera: str) -> None:
        """Wait until another process has this camera's lease or should have it, which may be never."""
        await self._over[camera].wait()

    def former(self, camera: str) -> str:
        """Who held the lease before we took it; empty where nobody did."""
        return self._former.get(camera, "")

    async def release(self, camera: str, lease: Lease, mark: store.Mark | None = None) -> None:
        """Give a lease back with how far its stream has come; nothing happens to one that is lost."""
        if self._held.get(camera) != lease:
            return
        del self._held[camera]
        try:
            async with self._database.transaction() as tx:
                await store.note(tx, [mark] if mark else [])
                await store.release(tx, [lease])
        except Unavailable as error:
            # It is not renewed any more: others find it free after its time.
            _log.warning("lease_not_released", camera=camera, reason=str(error))
        self._news.set()

    async def leave(self, marks: Sequence[store.Mark]) -> None:
        """Give everything back, with how far the streams have come: others take over at once."""
        self._left = True
        leases, self._held = list(self._held.values()), {}
        with contextlib.suppress(Unavailable):
            async with self._database.transaction() as tx:
                await store.note(tx, marks)
                await store.release(tx, leases)
                await store.resign(tx, self._me)

    async def keep(self) -> None:
        """A turn each second, and at once where a camera waits: the job of this class."""
        while True:
            self._news.clear()
            await self.turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await self._news.wait()

    async def turn(self) -> None:
        """Store marks, renew what is due, look who is there, take and hand over."""
        if self._left:
            return
        try:
            at = await self._look()
            self._follow_losses()
            if self._enrolled:
                await self._spread(at)
        except Unavailable as error:
            # Reading goes on: while the database is away, nobody can take over either.
            _log.warning("leases_not_renewed", reason=str(error))

    async def check(self) -> Health:
        """Who shares the cameras, and which of them nobody has room for; for `/health`."""
        live = self._roster.live(self._attention.now)
        held = Counter(lease.owner for lease in self._holders.values() if lease.expires_at)
        details = {
            "members": {one.name: held[one.name] for one in live},
            "held": sorted(self._held),
        }
        if self._displaced:
            reason = (
                f"another ingest process runs under the name {self._owner}, so this one reads nothing; "
                "give each a VANTAGE_INSTANCE of its own"
            )
            return Health(status="unhealthy", reason=reason, details=details)
        unread = self._unread()
        if unread:
            reason = (
                f"no ingest process has room for {', '.join(unread)}; "
                "raise VANTAGE_INGEST_MAX_CAMERAS or start another process"
            )
            return Health(status="degraded", reason=reason, details=details)
        return Health(status="healthy", details=details)

    async def _look(self) -> float:
        """Renew and look, in one transaction; afterwards we know what stands in the database."""
        monotonic, marks = self._clock.monotonic(), self._streams.marks()
        due = monotonic - self._renewed_at >= RENEWAL * self._ttl
        writes = bool(marks) or due
        async with self._database.transaction() if writes else self._database.read() as at_work:
            if isinstance(at_work, Transaction):
                await store.note(at_work, marks)
                await self._renew(at_work, due=due)
            rows, holders = await store.roll(at_work), await store.holders(at_work)
        at = self._attention.look(self._clock.monotonic())
        self._renewed_at = monotonic if due else self._renewed_at
        self._roster.see(rows, at)
        self._renewals.see(holders, at)
        self._holders = holders
        self._find_ourselves(rows, at)
        return at

    async def _renew(self, tx: Transaction, *, due: bool) -> None:
        if not due or self._left:
            return
        if not self._enrolled:
            await store.enroll(tx, self._me)
        await store.beat(tx, self._me)
        names = [lease.name for lease in self._held.values()]
        await store.renew(tx, self._owner, names, self._until())
        await store.strike(tx, self._roster.gone(self._attention.now))

    def _find_ourselves(self, rows: Sequence[Row], at: float) -> None:
        """Whether we stand on the roll. A newer process may have taken our name; when it is gone, we join again."""
        mine = next((row for row in rows if row.name == self._owner), None)
        self._enrolled = mine is not None and mine.life == self._me.life
        taken = mine is not None and not self._enrolled
        if taken and not self._displaced:
            _log.error("instance_name_taken", instance=self._owner)
        self._displaced = taken
        if not self._enrolled and (not taken or self._roster.still(self._owner, at) > self._ttl):
            self._renewed_at = float("-inf")
            self._news.set()

    def _follow_losses(self) -> None:
        """Tell the streams of leases that are another's now."""
        for camera, lease in list(self._held.items()):
            stands = self._holders.get(camera)
            ours = stands is not None and stands.generation == lease.generation
            if self._displaced or not ours:
                _log.warning("lease_lost", camera=camera, generation=lease.generation)
                del self._held[camera]
                self._over[camera].set()

    async def _spread(self, at: float) -> None:
        owners, configured = self._owners(at), self._streams.configured()
        for camera, lease in list(self._held.items()):
            if camera not in configured:
                await self.release(camera, lease)
                continue
            # Where nobody has room for it, it stays: what is read goes before what is new.
            if owners.get(camera, self._owner) != self._owner and not self._over[camera].is_set():
                _log.info("camera_handed_over", camera=camera, to=owners[camera])
                self._over[camera].set()
        await self._give_back(owners)
        wanted = [
            camera
            for camera in sorted(self._waiting)
            if owners.get(camera) == self._owner and self._is_free(camera, at)
        ]
        if wanted:
            await self._take(wanted)

    async def _give_back(self, owners: Mapping[str, str]) -> None:
        """Leases that a former life of ours held and that are for another now: nobody need wait for their end."""
        left = [
            lease
            for camera, lease in self._holders.items()
            if lease.owner == self._owner
            and lease.expires_at
            and camera not in self._held
            and owners.get(camera) != self._owner
        ]
        if left:
            async with self._database.transaction() as tx:
                await store.release(tx, left)

    def _owners(self, at: float) -> Mapping[str, str]:
        """The preferred owner of each camera. Those that are not to be read take no room."""
        asked = configured, live = self._streams.configured(), self._roster.live(at)
        if asked != self._asked:
            read = [camera for camera, enabled in configured.items() if enabled]
            other = configured.keys() - read
            roomy = [one._replace(room=None) for one in live]
            self._asked, self._answer = asked, {**assign(other, roomy), **assign(read, live)}
        return self._answer

    def _is_free(self, camera: str, at: float) -> bool:
        """Whether it may be taken: it was given back, or is ours, or its holder has not renewed it for its time."""
        lease = self._holders.get(camera)
        if lease is None or lease.expires_at == 0 or lease.owner == self._owner:
            return True
        return self._renewals.still(camera, at) > self._ttl

    async def _take(self, cameras: Collection[str]) -> None:
        room, taken = self._room(), dict[str, Lease]()
        async with self._database.transaction() as tx:
            for camera in cameras:
                takes_room = self._streams.configured().get(camera, False)
                if self._left or (takes_room and room < 1):
                    continue
                name = store.LEASE_PREFIX + camera
                wish = Lease(name=name, owner=self._owner, generation=1, expires_at=self._until())
                lease = await store.take(tx, wish, self._holders.get(camera))
                if lease is not None:
                    taken[camera] = lease
                    room -= takes_room
        for camera, lease in taken.items():
            self._hand_out(camera, lease)

    def _hand_out(self, camera: str, lease: Lease) -> None:
        """Give a stream its lease. Where it has stopped waiting meanwhile, the next turn gives the lease back."""
        before = self._holders.get(camera)
        self._former[camera] = before.owner if before is not None else ""
        self._held[camera] = lease
        self._over[camera] = asyncio.Event()
        future = self._waiting.get(camera)
        if future is not None and not future.done():
            future.set_result(lease)

    def _room(self) -> float:
        """How many more cameras we may read."""
        if self._me.room is None:
            return float("inf")
        configured = self._streams.configured()
        return self._me.room - sum(configured.get(camera, False) for camera in self._held)

    def _unread(self) -> list[str]:
        """Cameras that are to be read and that nobody has room for."""
        read = {camera for camera, enabled in self._streams.configured().items() if enabled}
        live = {one.name: one.room for one in self._roster.live(self._attention.now)}
        owners = {
            camera: lease.owner
            for camera, lease in self._holders.items()
            if camera in read and lease.expires_at and lease.owner in live
        }
        given = Counter(owners.values())
        full = all(room is not None and given[name] >= room for name, room in live.items())
        return sorted(read - owners.keys()) if full else []

    def _until(self) -> int:
        return self._clock.now() + round(self._ttl * SECOND)
