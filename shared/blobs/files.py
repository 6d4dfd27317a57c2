"""Blobs as files under one folder: temporary file, fsync, rename; no key leads out of the folder."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.blobs.port import (
    BlobStat,
    BlobsUnavailable,
    checked_key,
    checked_type,
    content_type_of,
    is_name,
)
from shared.errors import Invalid, Setup
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

ORPHAN_S = 3600.0
_PARTS = ".parts"  # where blobs are written before their rename; no name of a key begins with a dot


@asynccontextmanager
async def open_files(root: Path) -> AsyncIterator[FileBlobs]:
    """Open the folder, and remove what a killed process left half-written in it.

    Raises:
        Setup: the folder can be neither found nor made.
    """
    blobs = await asyncio.to_thread(FileBlobs, root)
    await blobs.sweep()
    yield blobs


class FileBlobs:
    """The blob store in a folder.

    Raises:
        Setup: the folder can be neither found nor made.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._root = root.resolve(strict=True)
        except OSError as error:
            raise Setup(
                f"VANTAGE_BLOB_URL: no folder can be made at {root}: {error.strerror}"
            ) from error

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, whole or not at all."""
        checked_type(checked_key(key), content_type)
        await self._off_loop(_write, self._root, key, data)

    async def get(self, key: str) -> bytes | None:
        """The blob, or None."""
        return await self._off_loop(_read, self._root, key)

    async def stat(self, key: str) -> BlobStat | None:
        """What is known of the blob, or None."""
        return await self._off_loop(_stat, self._root, key)

    async def delete(self, key: str) -> bool:
        """Remove the blob; says whether there was one."""
        return await self._off_loop(_delete, self._root, key)

    async def list(self, prefix: str = "") -> Sequence[BlobStat]:
        """All blobs in the folder that `prefix` names (empty: everywhere), by key."""
        return await self._off_loop(_list, self._root, prefix)

    async def check(self) -> Health:
        """Degraded where the folder is gone or may not be written; how full it is, the check of the disk says."""
        if await asyncio.to_thread(os.access, self._root, os.R_OK | os.W_OK | os.X_OK):
            return Health(status="healthy")
        return Health(
            status="degraded", reason=f"the folder {self._root} is gone or may not be written"
        )

    async def sweep(self, *, older_s: float = ORPHAN_S) -> int:
        """Remove temporary files that a killed process left behind; returns how many."""
        return await self._off_loop(_sweep, self._root, time.time() - older_s)

    async def _off_loop(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        except OSError as error:
            raise BlobsUnavailable(
                f"the blob store {self._root} answers {error.strerror!r}; "
                "look at its free space and rights"
            ) from error


def _place(root: Path, key: str) -> Path:
    """Where the key's file stands; a link that leads out of the folder is no way either."""
    path = root / checked_key(key)
    if not path.parent.resolve().is_relative_to(root) or path.is_symlink():
        raise Invalid(f"blob key {key!r} leads out of the store", field="key")
    return path


def _write(root: Path, key: str, data: bytes) -> None:
    path = _place(root, key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    (root / _PARTS).mkdir(exist_ok=True, mode=0o700)
    temporary = root / _PARTS / uuid.uuid4().hex
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # gone already when all went well
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(root: Path, key: str) -> bytes | None:
    try:
        return _place(root, key).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _stat(root: Path, key: str) -> BlobStat | None:
    path = _place(root, key)
    if not path.is_file():
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return BlobStat(
        key=key,
        size=found.st_size,
        modified_at=found.st_mtime_ns // 1000,
        content_type=content_type_of(key),
    )


def _delete(root: Path, key: str) -> bool:
    path = _place(root, key)
    if not path.is_file():
        return False
    path.unlink(missing_ok=True)
    return True


def _list(root: Path, prefix: str) -> list[BlobStat]:
    folder = _place(root, prefix.removesuffix("/")) if prefix else root
    found = (_stat(root, file.relative_to(root).as_posix()) for file in _files(folder))
    return sorted((stat for stat in found if stat is not None), key=lambda stat: stat.key)


def _sweep(root: Path, before: float) -> int:
    parts = root / _PARTS
    files = list(parts.iterdir()) if parts.is_dir() else []
    old = [file for file in files if file.stat().st_mtime < before]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = filter(is_name, folders)
        files = (Path(parent, name) for name in filter(is_name, names))
        yield from (file for file in files if not file.is_symlink())
