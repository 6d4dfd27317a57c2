"""The audit trail: entries off the topic `audit` are chained in the order of the log, shown, checked and anchored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import structlog
from sqlalchemy.exc import IntegrityError

from schemas.cloudevents import rfc3339
from schemas.events.audit_recorded import AuditRecorded
from services.gateway.domain import Break, Check, Entry, chained
from shared.errors import Poison, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.event import Envelope
    from services.gateway.store import AuditStore
    from shared.blobs.port import Blobs
    from shared.bus.port import Batch
    from shared.clock import Clock
    from shared.db.engine import Database
    from shared.security.keys import SigningKeys

log = structlog.get_logger(__name__)

PAGE = 2_000  # entries that are checked before others get their turn
EVERY_S = 60.0  # a checkpoint is written so often where there are new entries
MANY = 1_000  # or when there are so many
KEPT = 100  # checkpoints
LONGEST_ID = 64
FOLDER = "audit/checkpoints"
KIND = "vantage-audit+jwt"
COLUMNS = (
    "index", "at", "actor", "actor_kind", "action", "object", "outcome", "reason", "correlation",
    "source", "id", "hash",
)  # fmt: skip


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted: exact values, and a time, `until` not included."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None
    outcome: str | None = None
    address: str | None = None  # of a caller who was refused
    since: int | None = None
    until: int | None = None


class Trail:
    """The trail of one installation."""

    def __init__(
        self,
        database: Database,
        store: AuditStore,
        clock: Clock,
        *,
        blobs: Blobs,
        keys: SigningKeys,
        pseudonyms: Callable[[str], Sequence[str]],
    ) -> None:
        self._pseudonyms = pseudonyms
        self._database = database
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._keys = keys

    async def __call__(self, batch: Batch) -> None:
        """Append a batch; what stands already is passed over.

        Raises:
            Poison: an id is longer than any of ours.
            Transient: another process appended meanwhile; the batch is tried again after it.
        """
        try:
            async with self._database.transaction() as tx:
                known = await self._store.known(tx, [envelope.id for envelope in batch.envelopes])
                index, before = await self._store.head(tx)
                entries: list[tuple[Entry, str]] = []
                for envelope in batch.envelopes:
                    if envelope.id not in known and isinstance(envelope.event, AuditRecorded):
                        entry = _entry(index + len(entries) + 1, envelope, envelope.event)
                        before = chained(before, entry)
                        entries.append((entry, before))
                await self._store.add(tx, entries)
        except IntegrityError as error:
            raise Transient("another process appended to the audit trail meanwhile") from error

    async def page(
        self, question: Question, *, before: int | None, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Entries, newest first, below the index `before`; and the index to go on from, None at the end."""
        match = {
            name: value
            for name in ("actor", "action", "object", "outcome")
            if (value := getattr(question, name)) is not None
        }
        asked = question.address
        marks = [] if asked is None else [f"from {one}" for one in self._pseudonyms(asked)]
        async with self._database.read() as reader:
            span = (question.since, question.until, before)
            found = await self._store.page(reader, match, span, limit + 1, marks)
        on = found[limit - 1][0].index if len(found) > limit else None
        return [_shown(*one) for one in found[:limit]], on

    async def verify(self) -> dict[str, Any]:
        """Check the whole chain against itself and against every signed checkpoint that is kept."""
        anchors, unreadable = await self._anchors()
        check = Check(anchors)
        found: Break | None = None
        while found is None and (entries := await self._after(check.index)):
            found = check.go_on(entries)
            await asyncio.sleep(0)
        found = found or check.end()
        return {
            "ok": found is None and not unreadable,
            "entries": check.index,
            "head": check.hash,
            "first_bad": None if found is None else found.index,
            "reason": found.reason if found is not None else "",
            "checkpoints": len(anchors),
            "anchored_to": max(anchors, default=0),
            "unreadable_checkpoints": unreadable,
        }

    async def anchor(self) -> int:
        """Sign the present head, where it is not yet; answers its index."""
        async with self._database.read() as reader:
            index, head = await self._store.head(reader)
        key = f"{FOLDER}/{index:015d}.json"
        if index == 0 or await self._blobs.stat(key) is not None:
            return index
        kid, private = self._keys.active()
        said = {"index": index, "hash": head, "at": self._clock.now()}
        token = jwt.encode(said, private, "RS256", headers={"kid": kid, "typ": KIND})
        await self._blobs.put(key, msgspec.json.encode({"token": token}), "application/json")
        for old in (await self._blobs.list(FOLDER))[:-KEPT]:
            await self._blobs.delete(old.key)
        return index

    async def keep_anchoring(self) -> None:
        """A checkpoint every minute with new entries, and whenever there are many; until cancelled."""
        anchored, waited = 0, 0.0
        while True:
            async with self._database.read() as reader:
                index, _ = await self._store.head(reader)
            if index - anchored >= MANY or (waited >= EVERY_S and index > anchored):
                anchored, waited = await self.anchor(), 0.0
            await asyncio.sleep(1.0)
            waited += 1.0

    async def _after(self, index: int) -> Sequence[tuple[Entry, str]]:
        async with self._database.read() as reader:
            return await self._store.after(reader, index, PAGE)

    async def _anchors(self) -> tuple[dict[int, str], list[str]]:
        """Hashes by index of the checkpoints that are kept, and those that no key of ours has signed."""
        found: dict[int, str] = {}
        unreadable = []
        for blob in await self._blobs.list(FOLDER):
            said = self._opened(await self._blobs.get(blob.key) or b"")
            if said is None:
                unreadable.append(blob.key)
            else:
                found[int(said["index"])] = str(said["hash"])
        return found, unreadable

    def _opened(self, content: bytes) -> dict[str, Any] | None:
        try:
            token = msgspec.json.decode(content, type=dict[str, str])["token"]
            header = jwt.get_unverified_header(token)
            key = self._keys.public(str(header.get("kid")))
            if key is None or header.get("typ") != KIND:
                return None
            said: dict[str, Any] = jwt.decode(token, key, ["RS256"], {"require": ["index", "hash"]})
        except (jwt.InvalidTokenError, msgspec.DecodeError, KeyError):
            return None
        return said


def _entry(index: int, envelope: Envelope, event: AuditRecorded) -> Entry:
    if len(envelope.id) > LONGEST_ID:
        raise Poison(
            f"the id of an audit entry has {len(envelope.id)} characters, not {LONGEST_ID}"
        )
    return Entry(
        index=index,
        event_id=envelope.id,
        source=envelope.source[:128],
        correlation=(envelope.correlation or "")[:128],
        actor=event.actor,
        actor_kind=event.actor_kind,
        action=event.action,
        object=event.object,
        outcome=event.outcome,
        reason=event.reason,
        recorded_at=event.recorded_at,
    )


def _shown(entry: Entry, hashed: str) -> dict[str, Any]:
    given = {**msgspec.structs.asdict(entry), "hash": hashed}
    given |= {"at": rfc3339(entry.recorded_at), "id": entry.event_id}
    return {name: given[name] for name in COLUMNS}
