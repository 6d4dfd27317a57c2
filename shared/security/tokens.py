"""Access tokens: RS256 JWTs of type `at+jwt` (RFC 9068), signed by keys in the data folder, checked against a key set."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import jwt
from jwt.algorithms import RSAAlgorithm

from shared.errors import Unauthenticated, Unavailable
from shared.security.principal import Principal
from shared.security.scopes import ROLES, SCOPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.clock import Clock
    from shared.security.keys import SigningKeys

ISSUER = "vantage"
AUDIENCE = "vantage"
TYPE = "at+jwt"
LIFETIME = 600  # seconds
SERVICE_LIFETIME = 120
LONGEST = 8192  # characters of a token that are looked at
_HEADERS = frozenset({"alg", "typ", "kid"})
_KINDS = ("user", "client", "service")


class KeySet(Protocol):
    """Where public keys come from."""

    async def key(self, kid: str) -> object | None:
        """The public key of this id, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a token is to say."""

    subject: str
    kind: str
    name: str
    scopes: frozenset[str]
    session: str | None = None
    csrf: str | None = (
        None  # digest of the CSRF value that unsafe calls with this cookie must carry
    )
    lifetime: int = LIFETIME


class Issuer:
    """Signs access tokens with the newest key."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def issue(self, grant: Grant) -> str:
        """A signed token for this grant."""
        kid, key = self._keys.active()
        now = self._clock.now() // 1_000_000
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": grant.subject,
            "kind": grant.kind,
            "name": grant.name,
            "scope": " ".join(sorted(grant.scopes)),
            "iat": now,
            "nbf": now,
            "exp": now + grant.lifetime,
            "jti": uuid.uuid4().hex,
        }
        if grant.session is not None:
            claims["sid"] = grant.session
        if grant.csrf is not None:
            claims["csrf"] = grant.csrf
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid, "typ": TYPE})

    def service(self, name: str) -> str:
        """A short token with which one of our services asks another."""
        return self.issue(
            Grant(
                subject=f"service:{name}",
                kind="service",
                name=name,
                scopes=ROLES["service"],
                lifetime=SERVICE_LIFETIME,
            )
        )


@dataclass(frozen=True)
class Claims:
    """What a valid token says."""

    principal: Principal
    csrf: str | None


class Verifier:
    """Checks a token's signature, type, issuer, audience and times; fetches nothing that a token names."""

    def __init__(self, keys: KeySet, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """The claims of a valid access token.

        Raises:
            Unauthenticated: it is none, of whatever kind; the reason is not told.
            Unavailable: the keys cannot be had now.
        """
        if len(token) > LONGEST:
            raise _refused()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _refused() from None
        key = await self._keys.key(_kid(header))
        if key is None:
            raise _refused()
        return self._claims(self._decoded(token, key))

    def _decoded(self, token: str, key: object) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,  # type: ignore[arg-type]  # an RSA public key; the port does not say so
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are checked below against our own clock.
                options={
                    "require": ["exp", "iat", "nbf", "iss", "aud", "sub", "scope", "kind"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "strict_aud": True,
                },
            )
        except jwt.PyJWTError:
            raise _refused() from None
        return claims

    def _claims(self, claims: Mapping[str, Any]) -> Claims:
        times = [claims["nbf"], claims["iat"], claims["exp"]]
        now = self._clock.now() // 1_000_000
        if not all(type(at) is int for at in times) or not times[0] <= now < times[2]:
            raise _refused()
        kind, scope, name = claims["kind"], claims["scope"], claims.get("name", "")
        if kind not in _KINDS or not isinstance(scope, str) or not isinstance(name, str):
            raise _refused()
        principal = Principal(
            subject=str(claims["sub"]),
            kind=kind,
            name=name,
            scopes=SCOPES & frozenset(scope.split()),
            session=_text(claims, "sid"),
            issued=times[1],
            expires=times[2],
        )
        return Claims(principal=principal, csrf=_text(claims, "csrf"))


class LocalKeySet:
    """The public halves of the keys in the data folder; an unknown id may mean that another process rotated them."""

    def __init__(self, keys: SigningKeys, clock: Clock, *, pause: float = 10.0) -> None:
        self._keys = keys
        self._clock = clock
        self._pause = pause
        self._looked = clock.monotonic()

    async def key(self, kid: str) -> object | None:
        """The public key of this id, or None."""
        known = self._keys.public(kid)
        if known is None and self._clock.monotonic() - self._looked >= self._pause:
            self._looked = self._clock.monotonic()
            self._keys.reload()
            known = self._keys.public(kid)
        return known


class Fetch(Protocol):
    """Gets the gateway's key document."""

    async def __call__(self) -> Mapping[str, Any]:
        """The document; raises Unavailable."""
        ...


class RemoteKeySet:
    """The gateway's published keys, kept; an unknown id is asked for at most once in `pause` seconds."""

    def __init__(self, fetch: Fetch, clock: Clock, *, pause: float = 10.0) -> None:
        self._fetch = fetch
        self._clock = clock
        self._pause = pause
        self._known: dict[str, object] = {}
        self._asked: float | None = None
        self._asking = asyncio.Lock()

    async def key(self, kid: str) -> object | None:
        """The public key of this id, or None. Whoever comes while the keys are fetched waits for them.

        Raises:
            Unavailable: the keys could not be fetched; the next one tries again.
        """
        if kid not in self._known:
            async with self._asking:
                if kid not in self._known and self._may_ask():
                    self._known = parse_jwks(await self._fetch())
                    self._asked = self._clock.monotonic()
        return self._known.get(kid)

    def _may_ask(self) -> bool:
        return self._asked is None or self._clock.monotonic() - self._asked >= self._pause


def parse_jwks(document: Mapping[str, Any]) -> dict[str, object]:
    """RSA signature keys of a JWK set by id; anything else in it is passed over.

    Raises:
        Unavailable: the document is no key set.
    """
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise Unavailable("the gateway's key document is no JWK set")
    return {
        key["kid"]: RSAAlgorithm.from_jwk(json.dumps(key))
        for key in keys
        if isinstance(key, dict) and key.get("kty") == "RSA" and isinstance(key.get("kid"), str)
    }


def _kid(header: Mapping[str, Any]) -> str:
    """The key id of an acceptable header: RS256, our type, and not one member more."""
    acceptable = header.get("alg") == "RS256" and str(header.get("typ", "")).lower() == TYPE
    kid = header.get("kid")
    if not acceptable or not isinstance(kid, str) or not _HEADERS.issuperset(header):
        raise _refused()
    return kid


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) else None


def _refused() -> Unauthenticated:
    return Unauthenticated("the access token is not valid")
