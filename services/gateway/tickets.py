"""What is made of secrets: refresh tokens, sign-in secrets and client secrets. Pure but for the random bytes given in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple


class Refresh(NamedTuple):
    """A refresh token taken apart."""

    session: str
    generation: int
    proof: str


def refresh_token(session: str, generation: int, seed: str) -> str:
    """The refresh token of a generation: the same for everyone who knows the seed, so it is never stored."""
    message = f"{session}.{generation}".encode()
    proof = hmac.new(seed.encode(), message, hashlib.sha256).digest()
    return f"{session}.{generation}.{base64.urlsafe_b64encode(proof).rstrip(b'=').decode()}"


def parse_refresh(token: str) -> Refresh | None:
    """The parts of a refresh token, or None where it is none."""
    session, _, rest = token.partition(".")
    number, _, proof = rest.partition(".")
    if not session or not number.isdecimal() or len(number) > 9 or not proof or len(token) > 256:
        return None
    return Refresh(session, int(number), proof)


def genuine(refresh: Refresh, seed: str) -> bool:
    """Whether we made this token."""
    expected = refresh_token(refresh.session, refresh.generation, seed).rpartition(".")[2]
    return hmac.compare_digest(expected.encode(), refresh.proof.encode())


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret with 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(stored: str, secret: str) -> bool:
    """Whether the stored digest is that of the secret."""
    return hmac.compare_digest(stored, digest(secret))
