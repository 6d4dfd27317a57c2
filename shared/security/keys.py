"""Signing keys: RSA private keys as owner-only files, newest signs, all of them verify until they are retired."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BITS = 2048
KEPT = 2  # the active key and the one before it, whose tokens live on for minutes


class SigningKeys:
    """The keys in one folder, file names in order of age. Read once; `rotate` writes and takes over at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: list[tuple[str, RSAPrivateKey]] = []

    @classmethod
    def open(cls, folder: Path) -> SigningKeys:
        """Read the keys; the first one is made where there is none.

        Raises:
            Setup: a file is no key, or others can read it.
        """
        keys = cls(folder)
        private_folder(folder)
        with alone_in(folder):
            keys.reload()
            if not keys._keys:
                keys.rotate()
        return keys

    def reload(self) -> None:
        """Read the folder again: another process may have rotated."""
        self._as_of = (
            self._folder.stat().st_mtime_ns
        )  # before reading: a change meanwhile is seen next time
        found = [_read(path) for path in sorted(self._folder.glob("signing-*.pem"))]
        self._keys = [(thumbprint(key.public_key()), key) for key in found]

    def active(self) -> tuple[str, RSAPrivateKey]:
        """Id and key that sign now."""
        return self._keys[-1]

    def public(self, kid: str) -> RSAPublicKey | None:
        """The public key of this id."""
        return next((key.public_key() for known, key in self._keys if known == kid), None)

    def jwks(self) -> dict[str, Any]:
        """All public keys as a JWK set (RFC 7517)."""
        return {
            "keys": [
                {**_numbers(key.public_key()), "kid": kid, "use": "sig", "alg": "RS256"}
                for kid, key in reversed(self._keys)
            ]
        }

    def due(self, *, now: int, days: int) -> bool:
        """Whether the active key has signed for so many days; `now` in microseconds UTC."""
        newest = max(self._folder.glob("signing-*.pem"))
        return now / 1_000_000 - newest.stat().st_mtime > days * 24 * 3600

    def rotate_if_due(self, *, now: int, days: int) -> bool:
        """Rotate where `due`; of processes that find so together one does it, and the others sign with its key."""
        with alone_in(self._folder):
            self.reload()
            due = self.due(now=now, days=days)
            if due:
                self.rotate()
        return due

    def rotate(self) -> str:
        """Make a new key the active one, retire those beyond the last two; answers the new id."""
        key = generate_private_key(public_exponent=65537, key_size=BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        number = max(map(_number, self._folder.glob("signing-*.pem")), default=0) + 1
        write_private(self._folder / f"signing-{number:06d}.pem", pem)
        self._keys.append((thumbprint(key.public_key()), key))
        for path in sorted(self._folder.glob("signing-*.pem"))[:-KEPT]:
            path.unlink()
        del self._keys[:-KEPT]
        return self._keys[-1][0]


def thumbprint(key: RSAPublicKey) -> str:
    """The key's id: its JWK thumbprint (RFC 7638), so the same key has the same id everywhere."""
    canonical = json.dumps(_numbers(key), sort_keys=True, separators=(",", ":")).encode()
    return _b64(hashlib.sha256(canonical).digest())


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time make keys in a folder: two that start together must agree on them."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_private(path: Path) -> bytes:
    """Read a secret file.

    Raises:
        Setup: others can read it.
    """
    if path.stat().st_mode & 0o077:
        raise Setup(f"{path} can be read by others; run: chmod 600 {path}")
    return path.read_bytes()


def _read(path: Path) -> RSAPrivateKey:
    content = read_private(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise Setup(f"{path} is no private key: {error}; restore it or remove it") from None
    if not isinstance(key, RSAPrivateKey):
        raise Setup(f"{path} is no RSA key; restore it or remove it")
    return key


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("signing-")
    return int(digits) if digits.isdigit() else 0


def _numbers(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {
        "e": _b64(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        "kty": "RSA",
        "n": _b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
    }


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
