"""People and programs: who exists, what they may do, and that nobody locks the last administrator out."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import IntegrityError

from services.gateway import tickets
from services.gateway.store import Client, Store, User
from shared.audit import NOBODY, Actor, Audit
from shared.errors import Conflict, Forbidden, Invalid, NotFound, Transient
from shared.security.scopes import SCOPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.gateway.passwords import Passwords
    from services.gateway.refusals import Refusals
    from services.gateway.sessions import Sessions
    from shared.clock import Clock
    from shared.db.engine import Database, Transaction
    from shared.security.principal import Principal
    from shared.security.revocations import Revocations

ADMIN = "admin"
ADMINS = "administrators"  # who may take one away counts them first


class People:
    """Changes users and clients; whatever takes rights away ends the sessions that had them."""

    def __init__(
        self,
        database: Database,
        store: Store,
        clock: Clock,
        *,
        passwords: Passwords,
        sessions: Sessions,
        revocations: Revocations,
        audit: Audit,
        refusals: Refusals,
    ) -> None:
        self._audit = audit
        self._refusals = refusals
        self._database = database
        self._store = store
        self._clock = clock
        self._passwords = passwords
        self.sessions = sessions
        self._revocations = revocations

    async def users(self) -> list[User]:
        """Everybody."""
        async with self._database.read() as reader:
            return await self._store.all_users(reader)

    async def user(self, identity: str) -> User:
        """One user.

        Raises:
            NotFound: there is none.
        """
        async with self._database.read() as reader:
            return _found(await self._store.user(reader, identity), identity)

    async def add(self, name: str, role: str, password: str | None) -> User:
        """A new user; without a password they need a sign-in link.

        Raises:
            Conflict: the name is taken.
            Invalid: the password is too short or too long.
        """
        hashed = "" if password is None else await self._passwords.hash(password)
        user = User(
            id=uuid.uuid4().hex,
            name=name.lower(),
            role=role,
            password=hashed,
            created_at=self._clock.now(),
        )
        async with _taken(f"a user named {user.name} exists"), self._database.transaction() as tx:
            await self._store.add_user(tx, user)
            entry = self._audit.entry("user.added", f"user:{user.id}", reason=f"role {role}")
            await tx.add([entry])
        return user

    async def change(
        self, identity: str, *, role: str | None, disabled: bool | None, password: str | None
    ) -> User:
        """Change a user; their sessions end.

        Raises:
            NotFound: there is none.
            Conflict: nobody could administer any more.
        """
        values: dict[str, Any] = {}
        if role is not None:
            values["role"] = role
        if disabled is not None:
            values["disabled"] = disabled
        if password is not None:
            values["password"] = await self._passwords.hash(password)
        async with self._database.transaction() as tx:
            await tx.alone(ADMINS)
            _found(await self._store.user(tx, identity), identity)
            if values:
                await self._store.change_user(tx, identity, values)
            await self._keep_an_admin(tx)
            ended = await self.sessions.end_all(tx, identity)
            user = _found(await self._store.user(tx, identity), identity)
            told = ", ".join(_told(values))
            await tx.add([self._audit.entry("user.changed", f"user:{identity}", reason=told)])
        await self.sessions.refuse(ended)
        return user

    async def change_own_password(
        self, principal: Principal, current: str | None, new: str
    ) -> None:
        """Set one's own password; other sessions of this user end.

        Raises:
            Forbidden: the current password is missing or wrong.
            Invalid: the caller is no person, or the new password does not fit.
        """
        if principal.kind != "user":
            raise Invalid("only people have a password; change a user instead", field="new")
        user = await self.user(principal.subject)
        if user.password and not await self._passwords.fits(user.password, current or ""):
            raise Forbidden("the current password is wrong")
        hashed = await self._passwords.hash(new)
        async with self._database.transaction() as tx:
            await self._store.change_user(tx, user.id, {"password": hashed})
            ended = await self.sessions.end_all(tx, user.id, but=principal.session)
            entry = self._audit.entry("user.changed", f"user:{user.id}", reason="password")
            await tx.add([entry])
        await self.sessions.refuse(ended)

    async def remove(self, identity: str) -> None:
        """Remove a user.

        Raises:
            NotFound: there is none.
            Conflict: nobody could administer any more.
        """
        async with self._database.transaction() as tx:
            await tx.alone(ADMINS)
            _found(await self._store.user(tx, identity), identity)
            ended = await self.sessions.end_all(tx, identity)
            await self._store.remove_user(tx, identity)
            await self._keep_an_admin(tx)
            await tx.add([self._audit.entry("user.removed", f"user:{identity}")])
        await self.sessions.refuse(ended)

    async def link(self, identity: str, *, only: bool = True) -> str:
        """A sign-in secret for a user; `only`: in place of earlier ones.

        Raises:
            NotFound: there is none.
        """
        async with self._database.transaction() as tx:
            _found(await self._store.user(tx, identity), identity)
            await tx.add([self._audit.entry("sign-in-link.made", f"user:{identity}")])
            return await self.sessions.link(tx, identity, only=only)

    async def first_admin(self, password: str | None) -> str | None:
        """See to it that somebody can administer: with the given password, else by the secret that is answered.

        None: there is an administrator with a password already.
        """
        async with self._database.read() as reader:
            user = await self._store.user_named(reader, ADMIN)
            people = await self._store.all_users(reader)
        if password is not None:
            await self._set_admin(user, password)
            return None
        usable = [one for one in people if one.role == ADMIN and one.password and not one.disabled]
        if usable:
            return None
        # Each of several gateways prints a link of its own at its start: those of the others stay good.
        return await self.link((user or await self._made_admin(None)).id, only=False)

    async def clients(self) -> list[Client]:
        """All clients."""
        async with self._database.read() as reader:
            return await self._store.all_clients(reader)

    async def client(self, identity: str, secret: str, address: str) -> Client | None:
        """The client that proves itself with this secret, or None. `address`: where the call comes from."""
        async with self._database.read() as reader:
            client = await self._store.client(reader, identity)
        stored = client.digest if client is not None else tickets.digest("nobody")
        if tickets.same(stored, secret):
            return client
        await self.refused_client(client, "by secret", address)
        return None

    async def throttled_client(self, identity: str, address: str) -> None:
        """Say that a program asked for tokens too often."""
        client = None
        with suppress(Transient):
            async with self._database.read() as reader:
                client = await self._store.client(reader, identity)
        await self.refused_client(client, "throttled by secret", address)

    async def refused_client(
        self, client: Client | None, why: str, address: str, *, by: Actor = NOBODY
    ) -> None:
        """Say that a program got no token. What an unknown one called itself may be a secret."""
        what = "client:unknown" if client is None else f"client:{client.id}"
        await self._refusals.say("token.issued", what, why, address=address, by=by)

    async def add_client(
        self, principal: Principal, name: str, scopes: Sequence[str]
    ) -> tuple[Client, str]:
        """A new client and its secret, which is not stored and never shown again.

        Raises:
            Invalid: an unknown scope.
            Forbidden: a scope that the caller does not hold.
            Conflict: the name is taken.
        """
        unknown = sorted(set(scopes) - SCOPES)
        if unknown:
            raise Invalid(
                f"scopes: {unknown[0]!r} is unknown; known are {', '.join(sorted(SCOPES))}",
                field="scopes",
            )
        if not principal.scopes.issuperset(scopes):
            raise Forbidden("nobody can give away what they do not hold")
        secret = tickets.new_secret()
        client = Client(
            id=uuid.uuid4().hex,
            name=name,
            digest=tickets.digest(secret),
            scopes=tuple(sorted(set(scopes))),
            created_at=self._clock.now(),
        )
        async with _taken(f"a client named {name} exists"), self._database.transaction() as tx:
            await self._store.add_client(tx, client)
            told = " ".join(client.scopes)
            await tx.add([self._audit.entry("client.added", f"client:{client.id}", reason=told)])
        return client, secret

    async def remove_client(self, identity: str) -> None:
        """Remove a client; its tokens are refused from now on.

        Raises:
            NotFound: there is none.
        """
        async with self._database.transaction() as tx:
            if not await self._store.remove_client(tx, identity, at=self._clock.now()):
                raise NotFound(f"there is no client {identity}")
            await tx.add([self._audit.entry("client.removed", f"client:{identity}")])
        await self._revocations.revoke(identity)

    async def _set_admin(self, user: User | None, password: str) -> None:
        if user is None:
            await self._made_admin(password)
        elif not await self._passwords.fits(user.password, password) or user.disabled:
            await self.change(user.id, role=ADMIN, disabled=False, password=password)

    async def _made_admin(self, password: str | None) -> User:
        """The administrator, made by us or, where several gateways start at once, by a quicker one."""
        try:
            return await self.add(ADMIN, ADMIN, password)
        except Conflict:
            async with self._database.read() as reader:
                return _found(await self._store.user_named(reader, ADMIN), ADMIN)

    async def _keep_an_admin(self, tx: Transaction) -> None:
        if await self._store.active_admins(tx) == 0:
            raise Conflict("nobody could administer any more; make another administrator first")


def _told(values: dict[str, Any]) -> list[str]:
    """What a change of a user touches; of a password only that it is another."""
    told = [f"role {values['role']}"] if "role" in values else []
    if "disabled" in values:
        told.append("disabled" if values["disabled"] else "enabled")
    return [*told, "password"] if "password" in values else told


def _found(user: User | None, identity: str) -> User:
    if user is None:
        raise NotFound(f"there is no user {identity}")
    return user


@asynccontextmanager
async def _taken(text: str) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError:
        raise Conflict(text) from None
