"""Secrets at rest: each value under a data key of its own, the data key under a master key outside the database."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import Invalid, Setup
from shared.security.keys import alone_in, private_folder, read_private, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = "v1"
_NONCE = 12
_KEY = 32


class SecretBox:
    """Seals texts with AES-256-GCM. `bound_to` names the place of the value (table, row, field): it is
    authenticated, so that a sealed text copied to another row does not open.

    The first master key seals; all of them open.
    """

    def __init__(self, masters: Sequence[bytes]) -> None:
        self._masters = {_name(key): key for key in masters}
        self._active = _name(masters[0])

    def seal(self, plain: str, *, bound_to: str) -> str:
        """Seal a text: `v1.<master key id>.<wrapped data key>.<ciphertext>`."""
        key = secrets.token_bytes(_KEY)
        wrapped = _encrypt(self._masters[self._active], key, f"{VERSION}.{self._active}.{bound_to}")
        body = _encrypt(key, plain.encode(), bound_to)
        return ".".join((VERSION, self._active, _text(wrapped), _text(body)))

    def open(self, sealed: str, *, bound_to: str) -> str:
        """The plain text.

        Raises:
            Invalid: it was sealed for another place or with a master key that is gone, or it was changed.
        """
        try:
            version, name, wrapped, body = sealed.split(".")
            master = self._masters[name]
            if version != VERSION:
                raise ValueError(version)
            key = _decrypt(master, _bytes(wrapped), f"{VERSION}.{name}.{bound_to}")
            return _decrypt(key, _bytes(body), bound_to).decode()
        except (ValueError, KeyError, InvalidTag, binascii.Error):
            raise Invalid(
                "a stored secret does not open: its master key is missing or it was changed; "
                "restore keys/master.key or enter the secret again"
            ) from None

    def pseudonyms(self, text: str, *, purpose: str) -> list[str]:
        """What stands for a text where it may not stand itself: 16 hex digits a master key, the active one's first.

        Equal texts have equal pseudonyms, and nobody without the key can try out all addresses.
        """
        message = f"vantage pseudonym\0{purpose}\0{text}".encode()
        return [hmac.digest(key, message, "sha256").hex()[:16] for key in self._masters.values()]

    def stale(self, sealed: str) -> bool:
        """Whether it was sealed under a master key that is no longer the active one."""
        return sealed.split(".")[1:2] != [self._active]

    def reseal(self, sealed: str, *, bound_to: str) -> str:
        """The same secret under the active master key; part of a rotation."""
        return self.seal(self.open(sealed, bound_to=bound_to), bound_to=bound_to)


def open_box(folder: Path, given: str | None) -> SecretBox:
    """The box of this installation: master keys from VANTAGE_MASTER_KEY, else from `master.key`, made if missing.

    Raises:
        Setup: a key is not 32 bytes in base64, or others can read the file.
    """
    if given is not None:
        return SecretBox(_parse(given.split(","), "VANTAGE_MASTER_KEY"))
    path = folder / "master.key"
    private_folder(folder)
    with alone_in(folder):
        if not path.exists():
            write_private(path, _text(secrets.token_bytes(_KEY)).encode() + b"\n")
    return SecretBox(_parse(read_private(path).decode().split(), str(path)))


def rotate_master(folder: Path) -> SecretBox:
    """Put a new master key before the others; what is sealed stays readable and can be resealed."""
    path = folder / "master.key"
    old = read_private(path) if path.exists() else b""
    private_folder(folder)
    write_private(path, _text(secrets.token_bytes(_KEY)).encode() + b"\n" + old)
    return open_box(folder, None)


def _parse(texts: Sequence[str], origin: str) -> list[bytes]:
    try:
        keys = [_bytes(text.strip().rstrip("=")) for text in texts if text.strip()]
    except (ValueError, binascii.Error):
        keys = []
    if not keys or any(len(key) != _KEY for key in keys):
        raise Setup(f"{origin}: expected keys of {_KEY} bytes in URL-safe base64, newest first")
    return keys


def _encrypt(key: bytes, plain: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())


def _decrypt(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to.encode())


def _name(key: bytes) -> str:
    return hashlib.sha256(b"vantage master key" + key).hexdigest()[:12]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(raw) != text:  # base64 ignores spare bits of the last letter: one value has one text
        raise ValueError(text)
    return raw
