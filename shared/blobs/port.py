"""The port of the blob store, and what its words mean.

- A *key* is a relative path of 1 to 16 names joined by `/`, e.g. `incidents/4f1c/first.jpg`. A name begins with a
  letter, a digit or `_`, goes on with those, `.` and `-`, and has at most 200 characters. Nothing else is a
  key: no `..`, no empty name, no leading or trailing slash, no encoding.
- A *content type* follows from the key's ending (`CONTENT_TYPES`), so that a store which keeps bytes alone can
  answer it; `put` refuses another one.
- `put` replaces the whole blob or nothing: a reader never sees half of one, and once it returns the bytes
  survive the death of the process.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from shared.errors import Invalid, Transient, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.service import Health

NAMES = 16
BINARY = "application/octet-stream"
CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "mp4": "video/mp4",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "txt": "text/plain",
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)


class BlobsUnavailable(Unavailable, Transient):
    """The store cannot take or give this now: HTTP answers 503, the bus engine tries again."""

    code = "blobs_unavailable"


class BlobStat(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a blob without reading it."""

    key: str
    size: int  # bytes
    modified_at: int  # microseconds UTC
    content_type: str


class Blobs(Protocol):
    """A store of blobs by key. Every method raises Invalid for what is no key."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, whole or not at all.

        Raises:
            Invalid: the content type is not the one of the key's ending.
            BlobsUnavailable: the store is full, read-only or away; what was there before is still there.
        """
        ...

    async def get(self, key: str) -> bytes | None:
        """The blob, or None."""
        ...

    async def stat(self, key: str) -> BlobStat | None:
        """What is known of the blob, or None."""
        ...

    async def delete(self, key: str) -> bool:
        """Remove the blob; says whether there was one."""
        ...

    async def list(self, prefix: str = "") -> Sequence[BlobStat]:
        """All blobs in the folder that `prefix` names (empty: everywhere), by key."""
        ...

    async def check(self) -> Health:
        """Degraded while the store takes and gives nothing: pictures are missing, everything else goes on."""
        ...


def checked_key(key: str) -> str:
    """The key itself.

    Raises:
        Invalid: it is no key; the text says what one looks like.
    """
    names = key.split("/")
    if len(names) > NAMES or not all(map(is_name, names)):
        raise Invalid(
            f"blob key {key[:80]!r} is refused; write names of letters, digits, '_', '.' and '-' "
            f"joined by '/', at most {NAMES} of them",
            field="key",
        )
    return key


def is_name(text: str) -> bool:
    """Whether a key may have this between its slashes."""
    return _NAME.fullmatch(text) is not None


def content_type_of(key: str) -> str:
    """The content type that the key's ending stands for."""
    return CONTENT_TYPES.get(key.rpartition("/")[2].rpartition(".")[2].lower(), BINARY)


def checked_type(key: str, content_type: str) -> None:
    """Hold that the content type is the one of the key's ending.

    Raises:
        Invalid: it is another one.
    """
    expected = content_type_of(key)
    if content_type != expected:
        raise Invalid(
            f"blob {key!r} cannot be {content_type!r}: its ending stands for {expected!r}; "
            "name it by what it is",
            field="content_type",
        )
