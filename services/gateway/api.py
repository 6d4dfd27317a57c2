"""Users, clients and tokens over HTTP."""

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from schemas.cloudevents import rfc3339
from services.gateway.dead_letters import DeadLetters, Wanted
from services.gateway.people import People
from services.gateway.sessions import Sessions
from services.gateway.store import Client, User
from services.gateway.throttle import Throttle
from services.gateway.trail import COLUMNS, Question, Trail
from shared.audit import Actor
from shared.cells import csv_lines
from shared.errors import TooMany
from shared.http import client_address
from shared.security.doors import PUBLIC, SignedIn, require
from shared.security.keys import SigningKeys
from shared.security.principal import Principal
from shared.security.tokens import LIFETIME, Grant, Issuer
from shared.times import parse_time

Role = Literal["admin", "operator", "viewer"]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
Word = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Password = Annotated[str, Field(min_length=8, max_length=256)]
Reader = Annotated[Principal, Depends(require("users:read"))]
Writer = Annotated[Principal, Depends(require("users:write"))]


class Strict(BaseModel):
    """A body in which nothing may stand that we do not know."""

    model_config = ConfigDict(extra="forbid")


class NewUser(Strict):
    """A user to be made; without a password they sign in by link."""

    name: Name
    role: Role = "viewer"
    password: Password | None = None


class UserChange(Strict):
    """What may change on a user; absent fields stay."""

    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


class OwnPassword(Strict):
    """A new password of one's own; `current` where one is set."""

    current: Annotated[str, Field(max_length=256)] | None = None
    new: Password


class AuditWindow(Strict):
    """Which entries of the audit trail."""

    actor: Word | None = None
    action: Word | None = None
    object: Word | None = None
    outcome: Literal["done", "refused"] | None = None
    address: Annotated[
        str | None, Field(max_length=64, description="Refusals of callers from this address.")
    ] = None
    since: Annotated[str | None, Field(alias="from", description="RFC 3339, included.")] = None
    until: Annotated[str | None, Field(alias="to", description="RFC 3339, not included.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[int | None, Field(ge=1, le=2**53)] = None
    format: Annotated[
        Literal["csv", "json"] | None, Field(description="All entries as a file instead of a page.")
    ] = None

    def question(self) -> Question:
        """The filters as a value."""
        return Question(
            actor=self.actor,
            action=self.action,
            object=self.object,
            outcome=self.outcome,
            address=self.address,
            since=parse_time("from", self.since),
            until=parse_time("to", self.until),
        )


class LetterWindow(Strict):
    """Which dead letters; times are those of their parking."""

    topic: Word | None = None
    group: Word | None = None
    error: Word | None = None
    id: Word | None = None
    since: Annotated[str | None, Field(alias="from", description="RFC 3339, included.")] = None
    until: Annotated[str | None, Field(alias="to", description="RFC 3339, not included.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    cursor: Word | None = None

    def wanted(self) -> Wanted:
        """The filters as a value."""
        return Wanted(
            topic=self.topic,
            group=self.group,
            error=self.error,
            id=self.id,
            since=parse_time("from", self.since),
            until=parse_time("to", self.until),
        )


class LetterReplay(LetterWindow):
    """Dead letters to send back, `limit` a call; `next` of the answer is the `cursor` of the next call."""

    dry_run: bool = False


class NewClient(Strict):
    """A program that gets tokens by client credentials."""

    name: Name
    scopes: Annotated[list[str], Field(min_length=1, max_length=64)]


def make_router(people: People) -> APIRouter:
    """Routes of users, clients and the caller's own account."""
    router = APIRouter(prefix="/api/v1", tags=["people"])
    _own_routes(router, people)
    _user_routes(router, people)
    _client_routes(router, people)
    return router


def _own_routes(router: APIRouter, people: People) -> None:
    @router.get("/me")
    async def me(principal: SignedIn) -> dict[str, Any]:
        """Who calls and what they may do."""
        user = await people.user(principal.subject) if principal.kind == "user" else None
        return {
            "id": principal.subject,
            "kind": principal.kind,
            "name": principal.name,
            "role": user.role if user else None,
            "scopes": sorted(principal.scopes),
            "has_password": bool(user.password) if user else None,
        }

    @router.put("/me/password", status_code=204)
    async def change_own_password(body: OwnPassword, principal: SignedIn) -> None:
        """Set one's own password; one's other sessions end."""
        await people.change_own_password(principal, body.current, body.new)


def _user_routes(router: APIRouter, people: People) -> None:
    @router.get("/users")
    async def list_users(_: Reader) -> dict[str, Any]:
        """Everybody."""
        return {"items": [_user(user) for user in await people.users()]}

    @router.post("/users", status_code=201)
    async def add_user(body: NewUser, _: Writer) -> dict[str, Any]:
        """Add a user."""
        return _user(await people.add(body.name, body.role, body.password))

    @router.patch("/users/{identity}")
    async def change_user(identity: str, body: UserChange, _: Writer) -> dict[str, Any]:
        """Change a user; their sessions end."""
        changed = await people.change(
            identity, role=body.role, disabled=body.disabled, password=body.password
        )
        return _user(changed)

    @router.delete("/users/{identity}", status_code=204)
    async def remove_user(identity: str, _: Writer) -> None:
        """Remove a user; their sessions end."""
        await people.remove(identity)

    @router.post("/users/{identity}/sign-in-link", status_code=201)
    async def make_link(identity: str, _: Writer) -> dict[str, Any]:
        """A secret with which this user signs in once, within 15 minutes: open `path` in a browser."""
        secret = await people.link(identity)
        return {"path": f"/login#{secret}", "expires_in": 900}


def _client_routes(router: APIRouter, people: People) -> None:
    @router.get("/clients")
    async def list_clients(_: Reader) -> dict[str, Any]:
        """All programs that may get tokens."""
        return {"items": [_client(client) for client in await people.clients()]}

    @router.post("/clients", status_code=201)
    async def add_client(body: NewClient, principal: Writer) -> dict[str, Any]:
        """Add a program; its secret is in this answer and never shown again."""
        client, secret = await people.add_client(principal, body.name, body.scopes)
        return {**_client(client), "client_secret": secret}

    @router.delete("/clients/{identity}", status_code=204)
    async def remove_client(identity: str, _: Writer) -> None:
        """Remove a program; its tokens are refused at once."""
        await people.remove_client(identity)


def make_trail_router(trail: Trail) -> APIRouter:
    """The audit trail: read and checked, never changed."""
    router = APIRouter(
        prefix="/api/v1", tags=["audit"], dependencies=[Depends(require("audit:read"))]
    )

    @router.get("/audit")
    async def entries(window: Annotated[AuditWindow, Query()]) -> Response:
        """Who did what, the newest first."""
        question = window.question()
        if window.format is None:
            items, on = await trail.page(question, before=window.cursor, limit=window.limit)
            return JSONResponse({"items": items, "next": on})
        as_csv = window.format == "csv"
        return StreamingResponse(
            _audit_file(trail, question, as_csv=as_csv),
            media_type="text/csv; charset=utf-8" if as_csv else "application/jsonl",
            headers={
                "Content-Disposition": f'attachment; filename="audit.{"csv" if as_csv else "jsonl"}"',
                "Cache-Control": "private, no-store",
            },
        )

    @router.get("/audit/verification")
    async def verification() -> dict[str, Any]:
        """Whether the chain holds from its first entry to its last, and the first that does not."""
        return await trail.verify()

    return router


async def _audit_file(trail: Trail, question: Question, *, as_csv: bool) -> AsyncIterator[bytes]:
    if as_csv:
        yield csv_lines(COLUMNS, [{name: name for name in COLUMNS}])
    on: int | None = None
    while True:
        items, on = await trail.page(question, before=on, limit=1_000)
        yield (
            csv_lines(COLUMNS, items)
            if as_csv
            else b"".join(msgspec.json.encode(item) + b"\n" for item in items)
        )
        if on is None:
            return


def make_dead_letter_router(letters: DeadLetters) -> APIRouter:
    """What no handler could digest, and how it is sent back."""
    router = APIRouter(prefix="/api/v1", tags=["log"])
    read = [Depends(require("log:read"))]

    @router.get("/dead-letters", dependencies=read)
    async def list_letters(window: Annotated[LetterWindow, Query()]) -> dict[str, Any]:
        """Dead letters by topic, the oldest first."""
        items, on = await letters.page(window.wanted(), after=window.cursor, limit=window.limit)
        return {"items": items, "next": on}

    @router.get("/dead-letters/{topic}/{offset}", dependencies=read)
    async def show_letter(
        topic: Annotated[str, Path(max_length=128)], offset: Annotated[int, Path(ge=0, le=2**62)]
    ) -> dict[str, Any]:
        """One dead letter with its headers, its value and the traceback."""
        return await letters.show(topic, offset)

    @router.post("/dead-letters/replays", dependencies=[Depends(require("log:replay"))])
    async def replay_letters(body: LetterReplay) -> dict[str, Any]:
        """Send dead letters back to the group that failed, once each; `dry_run` only counts."""
        return await letters.replay(
            body.wanted(), after=body.cursor, limit=body.limit, dry=body.dry_run
        )

    return router


def make_token_router(
    people: People, keys: SigningKeys, issuer: Issuer, throttle: Throttle
) -> APIRouter:
    """The token endpoint (RFC 6749, client credentials alone) and the public keys."""
    router = APIRouter(tags=["tokens"], dependencies=PUBLIC)

    @router.get("/.well-known/jwks.json")
    async def jwks() -> JSONResponse:
        """The public keys that access tokens are checked with."""
        return JSONResponse(keys.jwks(), headers={"Cache-Control": "public, max-age=60"})

    @router.post("/oauth2/token")
    async def token(request: Request) -> Response:
        """An access token for a program."""
        async with request.form(max_files=0, max_fields=16) as form:
            given = {name: value for name, value in form.items() if isinstance(value, str)}
        if given.get("grant_type") != "client_credentials":
            return _refusal("unsupported_grant_type", "use grant_type=client_credentials")
        identity, secret = _credentials(request, given)
        address = client_address(request)
        try:
            await throttle.attempt(f"client:{identity}", address)
        except TooMany:
            await people.throttled_client(identity, address)
            raise
        client = await people.client(identity, secret, address)
        if client is None:
            return _refusal("invalid_client", "the client or its secret is wrong", 401)
        await throttle.passed(f"client:{identity}", address)
        asked = frozenset(given.get("scope", "").split()) or frozenset(client.scopes)
        if not asked <= frozenset(client.scopes):
            who = Actor(client.id, "client")
            await people.refused_client(client, "asks for a scope it lacks", address, by=who)
            return _refusal("invalid_scope", "the client does not hold this scope")
        return _granted(issuer, client, asked)

    return router


def make_revocation_router(sessions: Sessions) -> APIRouter:
    """What other processes ask where the cache cannot tell them."""
    router = APIRouter(prefix="/api/v1", tags=["tokens"])

    @router.get("/revocations/{session}")
    async def revoked(
        session: Annotated[str, Path(max_length=64)], _: SignedIn, response: Response
    ) -> dict[str, bool]:
        """Whether a session or program was revoked. The id is its own secret: whoever knows it may ask."""
        response.headers["Cache-Control"] = "no-store"
        return {"revoked": await sessions.revoked(session)}

    return router


def _granted(issuer: Issuer, client: Client, scopes: frozenset[str]) -> Response:
    grant = Grant(
        subject=client.id, kind="client", name=client.name, scopes=scopes, session=client.id
    )
    answer = {
        "access_token": issuer.issue(grant),
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "scope": " ".join(sorted(scopes)),
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Client id and secret from Basic authentication, else from the form."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        identity, _, secret = text.partition(":")
        return identity, secret
    return form.get("client_id", ""), form.get("client_secret", "")


def _refusal(error: str, text: str, status: int = 400) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Basic"
    return JSONResponse({"error": error, "error_description": text}, status, headers)


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "has_password": bool(user.password),
        "created_at": rfc3339(user.created_at),
    }


def _client(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "name": client.name,
        "scopes": list(client.scopes),
        "created_at": rfc3339(client.created_at),
    }
