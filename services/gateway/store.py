"""All SQL of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update

from services.gateway.domain import GENESIS, Entry
from services.gateway.models import (
    audit_entries,
    clients,
    dead_letter_replays,
    revocations,
    sessions,
    sign_in_links,
    users,
)
from shared.db.base import insert_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import RowMapping, Select

    from shared.db.engine import Reader, Transaction


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `password` is an Argon2id hash, empty where none is set."""

    id: str
    name: str
    role: str
    password: str = ""
    disabled: bool = False
    created_at: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser's sign-in: a family of refresh tokens derived from `seed` (sealed) and `generation`."""

    id: str
    user: str
    seed: str
    csrf: str
    created_at: int
    rotated_at: int
    generation: int = 0
    revoked_at: int | None = None


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A program. `digest` is that of its secret."""

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    created_at: int


class Replay(NamedTuple):
    """A dead letter's way back: when it began, and when the log had it (None: not known)."""

    begun_at: int
    done_at: int | None


Span = tuple[int | None, int | None, int | None]
"""From a time, until a time, before an index."""


class Store:
    """Reads and writes of the gateway, each within the caller's transaction or read."""

    async def user(self, reader: Reader, identity: str) -> User | None:
        """One user by id."""
        return await self._one_user(reader, select(users).where(users.c.id == identity))

    async def user_named(self, reader: Reader, name: str) -> User | None:
        """One user by name; names are lower case."""
        return await self._one_user(reader, select(users).where(users.c.name == name.lower()))

    async def all_users(self, reader: Reader) -> list[User]:
        """Everybody, by name."""
        rows = await reader.execute(select(users).order_by(users.c.name))
        return [_user(row) for row in rows.mappings()]

    async def add_user(self, tx: Transaction, user: User) -> None:
        """Add a user; IntegrityError where the name is taken."""
        await tx.execute(insert(users), msgspec.structs.asdict(user))

    async def change_user(self, tx: Transaction, identity: str, values: dict[str, Any]) -> None:
        """Set these columns."""
        await tx.execute(update(users).where(users.c.id == identity).values(**values))

    async def remove_user(self, tx: Transaction, identity: str) -> None:
        """Remove a user with all sessions and links."""
        await tx.execute(delete(users).where(users.c.id == identity))

    async def active_admins(self, reader: Reader) -> int:
        """How many people can administer now."""
        rows = await reader.execute(
            select(func.count())
            .select_from(users)
            .where(users.c.role == "admin", users.c.disabled.is_(False))
        )
        return int(rows.scalar_one())

    async def add_session(self, tx: Transaction, session: Session) -> None:
        """Begin a session."""
        await tx.execute(insert(sessions), msgspec.structs.asdict(session))

    async def session(
        self, reader: Reader, identity: str, *, change: bool = False
    ) -> Session | None:
        """One session. change: nobody else changes it until the caller's transaction ends."""
        statement = select(sessions).where(sessions.c.id == identity)
        rows = await reader.execute(statement.with_for_update() if change else statement)
        row = rows.mappings().one_or_none()
        return None if row is None else msgspec.convert(_plain(row), Session)

    async def rotate(self, tx: Transaction, session: Session, *, at: int) -> None:
        """Move a session to its next refresh token."""
        await tx.execute(
            update(sessions)
            .where(sessions.c.id == session.id)
            .values(generation=session.generation + 1, rotated_at=at)
        )

    async def revoke(self, tx: Transaction, identities: Sequence[str], *, at: int) -> None:
        """End sessions."""
        rows = await tx.execute(
            update(sessions)
            .where(sessions.c.id.in_(identities), sessions.c.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(sessions.c.id)
        )
        ended = [{"id": row.id, "revoked_at": at} for row in rows]
        if ended:
            await tx.execute(insert(revocations), ended)

    async def live_sessions(self, reader: Reader, user: str) -> list[str]:
        """Ids of a user's sessions that were not revoked."""
        rows = await reader.execute(
            select(sessions.c.id).where(sessions.c.user == user, sessions.c.revoked_at.is_(None))
        )
        return [str(row.id) for row in rows]

    async def revoked(self, reader: Reader, identity: str) -> bool:
        """Whether a session or client was revoked."""
        rows = await reader.execute(select(revocations.c.id).where(revocations.c.id == identity))
        return rows.first() is not None

    async def count_live(self, reader: Reader, *, begun_after: int, used_after: int) -> int:
        """How many sessions were not revoked, began after one moment and were used after another."""
        found = await reader.execute(
            select(func.count())
            .select_from(sessions)
            .where(
                sessions.c.revoked_at.is_(None),
                sessions.c.created_at > begun_after,
                sessions.c.rotated_at > used_after,
            )
        )
        return int(found.scalar_one())

    async def revoked_since(self, reader: Reader, since: int) -> dict[str, int]:
        """Sessions and clients revoked after this moment, with the moment of each."""
        rows = await reader.execute(
            select(revocations.c.id, revocations.c.revoked_at).where(
                revocations.c.revoked_at > since
            )
        )
        return {str(row.id): int(row.revoked_at) for row in rows}

    async def sweep(
        self, tx: Transaction, *, sessions_before: int, links_before: int, revoked_before: int
    ) -> None:
        """Forget sessions unused, links expired and revocations out of date since then."""
        await tx.execute(delete(revocations).where(revocations.c.revoked_at < revoked_before))
        await tx.execute(delete(sessions).where(sessions.c.rotated_at < sessions_before))
        await tx.execute(delete(sign_in_links).where(sign_in_links.c.expires_at < links_before))

    async def add_link(
        self, tx: Transaction, digest: str, user: str, *, expires_at: int, only: bool
    ) -> None:
        """Store a sign-in link; `only`: in place of those that the user has."""
        if only:
            await tx.execute(delete(sign_in_links).where(sign_in_links.c.user == user))
        await tx.execute(
            insert(sign_in_links), {"digest": digest, "user": user, "expires_at": expires_at}
        )

    async def take_link(self, tx: Transaction, digest: str, *, at: int) -> str | None:
        """Use up a link: its user, or None where it is unknown, used or expired."""
        rows = await tx.execute(
            delete(sign_in_links)
            .where(sign_in_links.c.digest == digest)
            .returning(sign_in_links.c.user, sign_in_links.c.expires_at)
        )
        row = rows.one_or_none()
        return None if row is None or row.expires_at <= at else str(row.user)

    async def add_client(self, tx: Transaction, client: Client) -> None:
        """Add a client; IntegrityError where the name is taken."""
        values = {**msgspec.structs.asdict(client), "scopes": " ".join(client.scopes)}
        await tx.execute(insert(clients), values)

    async def client(self, reader: Reader, identity: str) -> Client | None:
        """One client by id."""
        rows = await reader.execute(select(clients).where(clients.c.id == identity))
        row = rows.mappings().one_or_none()
        return None if row is None else _client(row)

    async def all_clients(self, reader: Reader) -> list[Client]:
        """All clients, by name."""
        rows = await reader.execute(select(clients).order_by(clients.c.name))
        return [_client(row) for row in rows.mappings()]

    async def remove_client(self, tx: Transaction, identity: str, *, at: int) -> bool:
        """Remove a client and revoke its tokens; says whether there was one."""
        rows = await tx.execute(delete(clients).where(clients.c.id == identity))
        if rows.rowcount != 1:
            return False
        await tx.execute(insert(revocations), {"id": identity, "revoked_at": at})
        return True

    async def _one_user(self, reader: Reader, statement: Select[Any]) -> User | None:
        row = (await reader.execute(statement)).mappings().one_or_none()
        return None if row is None else _user(row)


def _user(row: RowMapping) -> User:
    return msgspec.convert(_plain(row), User)


def _client(row: RowMapping) -> Client:
    return msgspec.convert({**_plain(row), "scopes": str(row["scopes"]).split()}, Client)


def _plain(row: RowMapping) -> dict[str, Any]:
    return {
        str(name): value for name, value in row.items()
    }  # SQLAlchemy's names are of a class of their own


class AuditStore:
    """The audit trail: appended to, never changed."""

    async def known(self, reader: Reader, ids: Sequence[str]) -> set[str]:
        """Those of these event ids that stand in the trail."""
        column = audit_entries.c.event_id
        return {row.event_id for row in await reader.execute(select(column).where(column.in_(ids)))}

    async def head(self, reader: Reader) -> tuple[int, str]:
        """Index and hash of the newest entry; 0 and GENESIS where there is none."""
        newest = select(func.max(audit_entries.c.index)).scalar_subquery()
        found = await reader.execute(select(audit_entries).where(audit_entries.c.index == newest))
        row = found.mappings().one_or_none()
        return (0, GENESIS) if row is None else (int(row["index"]), str(row["hash"]))

    async def add(self, tx: Transaction, entries: Sequence[tuple[Entry, str]]) -> None:
        """Append entries with their hashes; IntegrityError where another came first."""
        rows = [{**msgspec.structs.asdict(entry), "hash": hashed} for entry, hashed in entries]
        if rows:
            await tx.execute(insert(audit_entries), rows)

    async def page(
        self,
        reader: Reader,
        match: Mapping[str, str],
        span: Span,
        limit: int,
        marks: Sequence[str] = (),
    ) -> list[tuple[Entry, str]]:
        """Entries whose columns have these values, newest first. `marks`: one of them stands in the reason."""
        since, until, before = span
        table = audit_entries.c
        wanted = select(audit_entries).order_by(table.index.desc()).limit(limit)
        for name, value in match.items():
            wanted = wanted.where(table[name] == value)
        if marks:
            wanted = wanted.where(or_(*(table.reason.contains(mark) for mark in marks)))
        if since is not None:
            wanted = wanted.where(table.recorded_at >= since)
        if until is not None:
            wanted = wanted.where(table.recorded_at < until)
        if before is not None:
            wanted = wanted.where(table.index < before)
        return [_audited(row) for row in (await reader.execute(wanted)).mappings()]

    async def after(self, reader: Reader, index: int, limit: int) -> list[tuple[Entry, str]]:
        """The next entries in their order."""
        wanted = select(audit_entries).where(audit_entries.c.index > index)
        found = await reader.execute(wanted.order_by(audit_entries.c.index).limit(limit))
        return [_audited(row) for row in found.mappings()]


class ReplayStore:
    """Which dead letters were sent back, by origin."""

    async def known(self, reader: Reader, origins: Sequence[str]) -> dict[str, Replay]:
        """What is known of these."""
        table = dead_letter_replays
        found = await reader.execute(select(table).where(table.c.origin.in_(origins)))
        return {row.origin: Replay(row.begun_at, row.done_at) for row in found}

    async def begin(self, tx: Transaction, origins: Sequence[str], *, at: int) -> set[str]:
        """Note that these are about to be sent; answers those that nobody began before."""
        if not origins:
            return set()
        rows = [{"origin": one, "begun_at": at, "done_at": None} for one in origins]
        fresh = insert_new(dead_letter_replays).returning(dead_letter_replays.c.origin)
        return {row.origin for row in await tx.execute(fresh, rows)}

    async def end(self, tx: Transaction, origins: Sequence[str], *, at: int) -> None:
        """The log has them."""
        table = dead_letter_replays
        await tx.execute(update(table).where(table.c.origin.in_(origins)).values(done_at=at))


def _audited(row: RowMapping) -> tuple[Entry, str]:
    return Entry(**{name: row[name] for name in Entry.__struct_fields__}), str(row["hash"])
