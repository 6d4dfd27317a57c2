"""The token corpus: one good token, and every bad one is refused with the same words."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from shared.clock import ManualClock
from shared.errors import Unauthenticated, Unavailable
from shared.security.keys import SigningKeys
from shared.security.scopes import ROLES
from shared.security.tokens import Grant, Issuer, LocalKeySet, RemoteKeySet, Verifier, parse_jwks

NOW = 1_800_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return SigningKeys.open(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW * 1_000_000)


@pytest.fixture
def verifier(keys: SigningKeys, clock: ManualClock) -> Verifier:
    return Verifier(LocalKeySet(keys, clock), clock)


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": "vantage",
        "aud": "vantage",
        "sub": "u1",
        "kind": "user",
        "name": "ann",
        "scope": "cameras:read",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(keys: SigningKeys, body: dict[str, Any], **header: Any) -> str:
    kid, key = keys.active()
    payload = json.dumps(body).encode()  # jwt.encode would refuse some of the bad ones itself
    headers = {"kid": kid, "typ": "at+jwt", **header}
    return jwt.PyJWS().encode(payload, key, algorithm="RS256", headers=headers)


def public_pem(keys: SigningKeys) -> bytes:
    return (
        keys.active()[1]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(body: dict[str, Any], kid: str) -> str:
    return f"{part({'alg': 'none', 'typ': 'at+jwt', 'kid': kid})}.{part(body)}."


def hs256(secret: bytes, body: dict[str, Any], kid: str) -> str:
    """Made by hand: no library signs with a public key as secret."""
    head = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': kid})}.{part(body)}"
    mac = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def foreign(body: dict[str, Any], kid: str) -> str:
    key = generate_private_key(65537, 2048)
    return jwt.encode(body, key, algorithm="RS256", headers={"kid": kid, "typ": "at+jwt"})


Make = Callable[[SigningKeys], str]
BAD: dict[str, Make] = {
    "empty": lambda _: "",
    "garbage": lambda _: "garbage",
    "three dots": lambda _: "a.b.c",
    "huge": lambda keys: signed(keys, claims(name="x" * 20_000)),
    "expired": lambda keys: signed(keys, claims(exp=NOW)),
    "not yet": lambda keys: signed(keys, claims(nbf=NOW + 1)),
    "no exp": lambda keys: signed(keys, claims(exp=None)),
    "no nbf": lambda keys: signed(keys, claims(nbf=None)),
    "exp as text": lambda keys: signed(keys, claims(exp="2099-01-01")),
    "exp as true": lambda keys: signed(keys, claims(exp=True)),
    "exp as float": lambda keys: signed(keys, claims(exp=NOW + 600.5)),
    "wrong issuer": lambda keys: signed(keys, claims(iss="vantage2")),
    "issuer list": lambda keys: signed(keys, claims(iss=["vantage"])),
    "no issuer": lambda keys: signed(keys, claims(iss=None)),
    "wrong audience": lambda keys: signed(keys, claims(aud="other")),
    "audience list": lambda keys: signed(keys, claims(aud=["vantage", "other"])),
    "no audience": lambda keys: signed(keys, claims(aud=None)),
    "no subject": lambda keys: signed(keys, claims(sub=None)),
    "no scope": lambda keys: signed(keys, claims(scope=None)),
    "scope list": lambda keys: signed(keys, claims(scope=["cameras:read"])),
    "unknown kind": lambda keys: signed(keys, claims(kind="owner")),
    "alg none": lambda keys: unsigned(claims(), keys.active()[0]),
    "HS256 with the public key": lambda keys: hs256(public_pem(keys), claims(), keys.active()[0]),
    "HS256 with the JWK": lambda keys: hs256(
        json.dumps(keys.jwks()["keys"][0]).encode(), claims(), keys.active()[0]
    ),
    "unknown kid": lambda keys: signed(keys, claims(), kid="nobody"),
    "kid is a path": lambda keys: signed(keys, claims(), kid="../../etc/passwd"),
    "no kid": lambda keys: jwt.encode(
        claims(), keys.active()[1], algorithm="RS256", headers={"typ": "at+jwt"}
    ),
    "jku": lambda keys: signed(keys, claims(), jku="http://127.0.0.1:1/keys"),
    "x5u": lambda keys: signed(keys, claims(), x5u="http://127.0.0.1:1/cert"),
    "jwk": lambda keys: signed(keys, claims(), jwk=keys.jwks()["keys"][0]),
    "crit": lambda keys: signed(keys, claims(), crit=["b64"], b64=False),
    "typ JWT": lambda keys: signed(keys, claims(), typ="JWT"),
    "no typ": lambda keys: signed(keys, claims(), typ=None),
    "other key, same kid": lambda keys: foreign(claims(), keys.active()[0]),
    "changed": lambda keys: signed(keys, claims())[:-8] + "AAAAAAAA",
    "signature dropped": lambda keys: signed(keys, claims()).rpartition(".")[0] + ".",
}


@pytest.mark.parametrize("kind", BAD)
async def test_bad_tokens_are_refused_alike(
    kind: str, keys: SigningKeys, verifier: Verifier
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(BAD[kind](keys))
    assert str(refused.value) == "the access token is not valid"


async def test_a_good_token_says_who_calls(keys: SigningKeys, verifier: Verifier) -> None:
    found = await verifier.verify(signed(keys, claims(sid="s1", csrf="d")))
    assert found.principal.subject == "u1"
    assert found.principal.scopes == {"cameras:read"}
    assert found.principal.session == "s1"
    assert found.csrf == "d"


async def test_what_we_issue_we_accept_until_it_ends(
    keys: SigningKeys, clock: ManualClock, verifier: Verifier
) -> None:
    grant = Grant(subject="u1", kind="user", name="ann", scopes=ROLES["viewer"])
    token = Issuer(keys, clock).issue(grant)
    assert (await verifier.verify(token)).principal.scopes == ROLES["viewer"]
    clock.advance(600)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_unknown_scopes_are_left_out(keys: SigningKeys, verifier: Verifier) -> None:
    found = await verifier.verify(signed(keys, claims(scope="cameras:read everything:do")))
    assert found.principal.scopes == {"cameras:read"}


async def test_services_hold_no_rights_over_people(
    keys: SigningKeys, clock: ManualClock, verifier: Verifier
) -> None:
    found = await verifier.verify(Issuer(keys, clock).service("vms"))
    assert found.principal.kind == "service"
    assert not found.principal.may("users:write")


def test_rotation_leaves_two_files(tmp_path: Path) -> None:
    keys = SigningKeys.open(tmp_path)
    keys.rotate()
    keys.rotate()
    assert len(list(tmp_path.glob("signing-*.pem"))) == 2


async def test_rotation_keeps_the_last_key_and_retires_the_one_before(
    tmp_path: Path, clock: ManualClock
) -> None:
    keys = SigningKeys.open(tmp_path)
    verifier = Verifier(LocalKeySet(keys, clock), clock)
    first = signed(keys, claims())
    keys.rotate()
    second = signed(keys, claims())
    await verifier.verify(first)
    await verifier.verify(second)
    keys.rotate()
    await verifier.verify(second)
    with pytest.raises(Unauthenticated):
        await verifier.verify(first)


async def test_another_process_sees_a_rotation(tmp_path: Path, clock: ManualClock) -> None:
    here, there = SigningKeys.open(tmp_path), SigningKeys.open(tmp_path)
    verifier = Verifier(LocalKeySet(there, clock), clock)
    here.rotate()
    clock.advance(11)
    await verifier.verify(signed(here, claims(iat=NOW + 11, exp=NOW + 600)))


async def test_published_keys_verify_and_are_asked_for_rarely(
    keys: SigningKeys, clock: ManualClock
) -> None:
    asked: list[int] = []

    async def fetch() -> dict[str, Any]:
        asked.append(1)
        return keys.jwks()

    verifier = Verifier(RemoteKeySet(fetch, clock), clock)
    for _ in range(3):
        await verifier.verify(signed(keys, claims()))
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await verifier.verify(signed(keys, claims(), kid="unknown"))
    assert len(asked) == 1


async def test_who_comes_while_the_keys_are_fetched_waits_for_them(
    keys: SigningKeys, clock: ManualClock
) -> None:
    arrived = asyncio.Event()
    answers: list[Unavailable | dict[str, Any]] = [Unavailable("away"), keys.jwks()]

    async def fetch() -> dict[str, Any]:
        await arrived.wait()
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    verifier = Verifier(RemoteKeySet(fetch, clock), clock)
    calls = [asyncio.create_task(verifier.verify(signed(keys, claims()))) for _ in range(3)]
    await asyncio.sleep(0)
    arrived.set()
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Unavailable)
    assert not any(isinstance(one, BaseException) for one in others)
    assert answers == []


def test_published_keys_hold_no_private_part(keys: SigningKeys) -> None:
    (key,) = keys.jwks()["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
    assert key["kid"] in parse_jwks(keys.jwks())
