"""All SQL of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, func, insert, select, update

from services.gateway.models import clients, revocations, sessions, sign_in_links, users

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    async def session(self, reader: Reader, identity: str) -> Session | None:
        """One session."""
        rows = await reader.execute(select(sessions).where(sessions.c.id == identity))
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

    async def add_link(self, tx: Transaction, digest: str, user: str, *, expires_at: int) -> None:
        """Store a sign-in link; a user has one at a time."""
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
