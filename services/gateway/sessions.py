"""Sessions of browsers: sign-in by password or link, refresh tokens that rotate, and a sign-out that counts at once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from services.gateway import tickets
from services.gateway.store import Session, Store, User
from shared.audit import SYSTEM, Actor, Audit
from shared.errors import Forbidden, TooMany, Transient, Unauthenticated
from shared.security.guard import csrf_digest, new_csrf
from shared.security.revocations import REMEMBERED_S
from shared.security.scopes import ROLES
from shared.security.tokens import Grant, Issuer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.gateway.passwords import Passwords
    from services.gateway.refusals import Refusals
    from services.gateway.settings import GatewaySettings
    from services.gateway.throttle import Throttle
    from shared.clock import Clock
    from shared.db.engine import Database, Transaction
    from shared.security.envelope import SecretBox
    from shared.security.revocations import Revocations

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
LINK_LIFE = 15 * 60 * SECOND
RETRY_WINDOW = 10 * SECOND  # a lost answer may be asked for again: the same successor comes back
WRONG = "the name or the password is wrong"


class SignedIn(NamedTuple):
    """What a browser gets. `csrf` is None where it has one already."""

    user: User
    access: str
    refresh: str
    csrf: str | None


class Sessions:
    """Begins, renews and ends sessions."""

    def __init__(
        self,
        database: Database,
        store: Store,
        clock: Clock,
        *,
        box: SecretBox,
        issuer: Issuer,
        passwords: Passwords,
        throttle: Throttle,
        revocations: Revocations,
        settings: GatewaySettings,
        audit: Audit,
        refusals: Refusals,
    ) -> None:
        self._audit = audit
        self._refusals = refusals
        self._database = database
        self._store = store
        self._clock = clock
        self._box = box
        self._issuer = issuer
        self._passwords = passwords
        self._throttle = throttle
        self._revocations = revocations
        self._settings = settings

    async def by_password(self, name: str, password: str, address: str) -> SignedIn:
        """Sign in.

        Raises:
            Unauthenticated: wrong; nothing tells an unknown name from a wrong password.
            TooMany: too many attempts.
        """
        try:
            await self._throttle.attempt(name, address)
        except TooMany:
            await self._refused(await self._meant(name), "throttled by password", address)
            raise
        async with self._database.read() as reader:
            user = await self._store.user_named(reader, name)
        usable = user is not None and not user.disabled
        stored = user.password if user is not None and usable else None
        if not await self._passwords.fits(stored, password) or user is None:
            await self._refused(user, "by password", address)
            raise Unauthenticated(WRONG)
        await self._throttle.passed(name, address)
        async with self._database.transaction() as tx:
            return await self._begin(tx, user, "by password")

    async def by_link(self, secret: str, address: str) -> SignedIn:
        """Sign in with the secret of a link, which is used up.

        Raises:
            Unauthenticated: unknown, used or expired.
            TooMany: too many attempts.
        """
        try:
            await self._throttle.attempt("link", address)
        except TooMany:
            await self._refused(None, "throttled by link", address)
            raise
        async with self._database.transaction() as tx:
            digest, now = tickets.digest(secret), self._clock.now()
            identity = await self._store.take_link(tx, digest, at=now)
            user = None if identity is None else await self._store.user(tx, identity)
            if user is not None and not user.disabled:
                return await self._begin(tx, user, "by link")
        await self._refused(user, "by link", address)
        raise Unauthenticated("the sign-in link is unknown, used or expired; ask for a new one")

    async def renew(self, token: str, csrf: str) -> SignedIn:
        """The next access and refresh token of a session.

        Raises:
            Unauthenticated: not ours, too old, or used before; the last ends the whole session.
            Forbidden: the CSRF value is not the session's.
        """
        parsed = tickets.parse_refresh(token)
        if parsed is None:
            raise Unauthenticated("sign in again")
        async with self._database.transaction() as tx:
            session = await self._store.session(tx, parsed.session, change=True)
            user = None if session is None else await self._store.user(tx, session.user)
            if session is None or user is None or user.disabled or not self._live(session):
                raise Unauthenticated("sign in again")
            seed = self._seed(session)
            if not tickets.genuine(parsed, seed):
                raise Unauthenticated("sign in again")
            if csrf_digest(csrf) != session.csrf:
                raise Forbidden("the call comes from another site's page")
            now = self._clock.now()
            step = parsed.generation - session.generation
            if step == 0:
                await self._store.rotate(tx, session, at=now)
                return self._tokens(user, session, session.generation + 1, seed)
            if step == -1 and now - session.rotated_at <= RETRY_WINDOW:
                return self._tokens(user, session, session.generation, seed)
            await self._store.revoke(tx, [session.id], at=now)
            why = "its tokens were used from two places"
            entry = self._audit.entry("session.ended", f"user:{user.id}", reason=why, by=SYSTEM)
            await tx.add([entry])
        await self._revocations.revoke(session.id)
        raise Unauthenticated("this session was used from two places; sign in again")

    async def end(self, identity: str) -> None:
        """Sign out: its tokens are refused from now on, everywhere."""
        async with self._database.transaction() as tx:
            await self._store.revoke(tx, [identity], at=self._clock.now())
            session = await self._store.session(tx, identity)
            what = f"user:{session.user}" if session is not None else f"session:{identity}"
            await tx.add([self._audit.entry("session.ended", what, reason="signed out")])
        await self._revocations.revoke(identity)

    async def end_all(self, tx: Transaction, user: str, *, but: str | None = None) -> Sequence[str]:
        """End all sessions of a user within a transaction; hand the answer to `refuse` after it."""
        live = await self._store.live_sessions(tx, user)
        ended = [session for session in live if session != but]
        await self._store.revoke(tx, ended, at=self._clock.now())
        return ended

    async def refuse(self, ended: Sequence[str]) -> None:
        """Refuse the tokens of ended sessions at once."""
        for session in ended:
            await self._revocations.revoke(session)

    async def link(self, tx: Transaction, user: str, *, only: bool = True) -> str:
        """A new sign-in secret for a user: used once, within 15 minutes. Only its digest is stored.

        only: earlier ones of this user hold no more.
        """
        secret = tickets.new_secret()
        await tx.alone(f"link/{user}")
        await self._store.add_link(
            tx, tickets.digest(secret), user, expires_at=self._clock.now() + LINK_LIFE, only=only
        )
        return secret

    async def revoked(self, identity: str) -> bool:
        """Whether a session or program was revoked, as the database has it."""
        async with self._database.read() as reader:
            return await self._store.revoked(reader, identity)

    async def share(self) -> bool:
        """Tell all processes what was revoked while its tokens may still live; False: do it again soon."""
        return await self._revocations.share(self._revoked_lately)

    async def sweep(self) -> None:
        """Forget what is long over."""
        now = self._clock.now()
        async with self._database.transaction() as tx:
            await self._store.sweep(
                tx,
                sessions_before=now - self._settings.session_days * DAY,
                links_before=now,
                revoked_before=now - REMEMBERED_S * SECOND,
            )

    async def _revoked_lately(self) -> dict[str, float]:
        now = self._clock.now()
        async with self._database.read() as reader:
            found = await self._store.revoked_since(reader, now - REMEMBERED_S * SECOND)
        return {each: REMEMBERED_S - (now - at) / SECOND for each, at in found.items()}

    async def count(self) -> int:
        """How many sessions may still be used."""
        now, settings = self._clock.now(), self._settings
        async with self._database.read() as reader:
            return await self._store.count_live(
                reader,
                begun_after=now - settings.session_days * DAY,
                used_after=now - settings.idle_days * DAY,
            )

    def _live(self, session: Session) -> bool:
        now = self._clock.now()
        young = now - session.created_at < self._settings.session_days * DAY
        used = now - session.rotated_at < self._settings.idle_days * DAY
        return session.revoked_at is None and young and used

    async def _refused(self, user: User | None, how: str, address: str) -> None:
        """Only who was meant is written down: what was typed as a name may be a password."""
        what = "user:unknown" if user is None else f"user:{user.id}"
        await self._refusals.say("session.begun", what, how, address=address)

    async def _meant(self, name: str) -> User | None:
        """Whose name it is; None where that cannot be told now: too many stays the answer."""
        try:
            async with self._database.read() as reader:
                return await self._store.user_named(reader, name)
        except Transient:
            return None

    async def _begin(self, tx: Transaction, user: User, how: str) -> SignedIn:
        identity, seed, csrf = uuid.uuid4().hex, tickets.new_secret(), new_csrf()
        now = self._clock.now()
        session = Session(
            id=identity,
            user=user.id,
            seed=self._box.seal(seed, bound_to=f"gateway.sessions.{identity}"),
            csrf=csrf_digest(csrf),
            created_at=now,
            rotated_at=now,
        )
        await self._store.add_session(tx, session)
        who = Actor(user.id, "user")
        entry = self._audit.entry("session.begun", f"user:{user.id}", reason=how, by=who)
        await tx.add([entry])
        return self._tokens(user, session, 0, seed)._replace(csrf=csrf)

    def _tokens(self, user: User, session: Session, generation: int, seed: str) -> SignedIn:
        grant = Grant(
            subject=user.id,
            kind="user",
            name=user.name,
            scopes=ROLES[user.role],
            session=session.id,
            csrf=session.csrf,
        )
        refresh = tickets.refresh_token(session.id, generation, seed)
        return SignedIn(user, self._issuer.issue(grant), refresh, None)

    def _seed(self, session: Session) -> str:
        return self._box.open(session.seed, bound_to=f"gateway.sessions.{session.id}")
