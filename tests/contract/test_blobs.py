"""What every blob store promises: whole blobs under safe keys."""

import asyncio
import errno
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.blobs.files import FileBlobs
from shared.blobs.port import Blobs, BlobsUnavailable, checked_key
from shared.blobs.s3 import Login, open_s3
from shared.errors import Invalid, Setup, Transient
from tests.engines.versitygw import ACCESS, SECRET

if TYPE_CHECKING:
    from tests.engines.versitygw import S3Server

KEY = "incidents/4f1c-22/first.jpg"
JPEG = "image/jpeg"

TRAVERSALS = [
    "",
    "/",
    ".",
    "..",
    "../a.jpg",
    "a/../../b.jpg",
    "a/./b.jpg",
    "a//b.jpg",
    "/etc/passwd",
    "a/",
    "....//a.jpg",
    "..%2fa.jpg",
    "%2e%2e/a.jpg",
    "::////a.jpg",
    "..\\a.jpg",
    "C:\\a.jpg",
    "~/a.jpg",
    ".hidden",
    "a/.hidden",
    "a\0.jpg",
    "a\n.jpg",
    "a\u202e.jpg",
    "ａ.jpg",
    "a\ud800.jpg",
    " a.jpg",
    "-rf",
    "n" * 201,
    "/".join("a" * 17),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.s3)])
async def blobs(request: pytest.FixtureRequest, root: Path) -> AsyncIterator[Blobs]:
    if request.param == "files":
        yield FileBlobs(root)
        return
    server: S3Server = request.getfixturevalue("s3_server")
    async with open_s3(server.url(uuid.uuid4().hex), Login(ACCESS, SECRET)) as store:
        yield store


@pytest.fixture
def files(root: Path) -> FileBlobs:
    return FileBlobs(root)


async def test_what_is_put_can_be_got(blobs: Blobs) -> None:
    await blobs.put(KEY, b"picture", JPEG)
    assert await blobs.get(KEY) == b"picture"
    stat = await blobs.stat(KEY)
    assert stat is not None
    assert (stat.key, stat.size, stat.content_type) == (KEY, 7, JPEG)
    assert stat.modified_at > 1_600_000_000_000_000


async def test_putting_again_replaces(blobs: Blobs) -> None:
    await blobs.put(KEY, b"one", JPEG)
    await blobs.put(KEY, b"two", JPEG)
    assert await blobs.get(KEY) == b"two"


async def test_what_is_not_there_is_none(blobs: Blobs) -> None:
    await blobs.put(KEY, b"picture", JPEG)
    for absent in ("other.jpg", "incidents/4f1c-22", f"{KEY}/below.jpg"):
        assert await blobs.get(absent) is None
        assert await blobs.stat(absent) is None
        assert not await blobs.delete(absent)


async def test_deleting(blobs: Blobs) -> None:
    await blobs.put(KEY, b"picture", JPEG)
    assert await blobs.delete(KEY)
    assert await blobs.get(KEY) is None
    assert not await blobs.delete(KEY)


async def test_listing_by_folder(blobs: Blobs) -> None:
    for key in ("b/2.jpg", "a/1.jpg", "b/c/3.jpg", "bb/4.jpg"):
        await blobs.put(key, b"", JPEG)
    assert [stat.key for stat in await blobs.list()] == [
        "a/1.jpg",
        "b/2.jpg",
        "b/c/3.jpg",
        "bb/4.jpg",
    ]
    assert [stat.key for stat in await blobs.list("b/")] == ["b/2.jpg", "b/c/3.jpg"]
    assert await blobs.list("nothing") == []
    assert await blobs.list("a/1.jpg") == []


async def test_a_listing_is_complete_however_long(blobs: Blobs) -> None:
    keys = [f"many/{number:04d}.jpg" for number in range(1005)]  # a page of S3 has 1000
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(blobs.put(key, b"", JPEG) for key in keys[start : start + 50]))
    assert [stat.key for stat in await blobs.list("many")] == keys


async def test_the_check_is_well(blobs: Blobs) -> None:
    assert (await blobs.check()).status == "healthy"


async def test_the_content_type_is_that_of_the_ending(blobs: Blobs) -> None:
    with pytest.raises(Invalid, match="image/jpeg"):
        await blobs.put(KEY, b"<svg>", "image/svg+xml")
    assert await blobs.get(KEY) is None
    await blobs.put("model.onnx", b"", "application/octet-stream")


@pytest.mark.parametrize("key", TRAVERSALS)
async def test_what_is_no_key_is_refused_everywhere(blobs: Blobs, key: str) -> None:
    with pytest.raises(Invalid, match="refused"):
        await blobs.put(key, b"", JPEG)
    for ask in (blobs.get, blobs.stat, blobs.delete):
        with pytest.raises(Invalid, match="refused"):
            await ask(key)
    if key:
        with pytest.raises(Invalid):
            await blobs.list(key if key != "a/" else "a//")


@given(key=st.text(alphabet="a.b/\\%2e~:\0-_ ", max_size=30) | st.text(max_size=30))
@settings(deadline=None)
def test_every_accepted_key_stays_under_the_root(key: str) -> None:
    root = Path("/srv/blobs")
    try:
        checked_key(key)
    except Invalid:
        return
    path = root / key
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(root)
    assert path != root


async def test_a_link_leads_nowhere(root: Path, files: FileBlobs, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (root / "link").symlink_to(outside)
    (root / "file.txt").symlink_to(outside / "secret.txt")
    for key in ("link/secret.txt", "file.txt"):
        with pytest.raises(Invalid, match="leads out"):
            await files.get(key)
        with pytest.raises(Invalid, match="leads out"):
            await files.put(key, b"", "text/plain")
    assert await files.list() == []
    assert (outside / "secret.txt").read_text() == "secret"


async def test_a_full_disk_keeps_the_old_blob_and_no_rest(
    root: Path, files: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await files.put(KEY, b"old", JPEG)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BlobsUnavailable, match="No space left") as caught:
            await files.put(KEY, b"new", JPEG)
    assert isinstance(caught.value, Transient)
    assert await files.get(KEY) == b"old"
    assert files_under(root) == [KEY]


def files_under(root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()]


async def test_leftovers_of_a_crash_are_swept_and_never_seen(root: Path) -> None:
    blobs = FileBlobs(root)
    await blobs.put(KEY, b"picture", JPEG)
    leftover = root / ".parts" / "123"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    (root / "incidents" / "strange name").write_bytes(b"not ours")
    assert [stat.key for stat in await blobs.list()] == [KEY]
    assert await blobs.sweep() == 1
    assert not leftover.exists()
    assert await blobs.get(KEY) == b"picture"


async def test_readers_never_see_half_a_blob(blobs: Blobs) -> None:
    big = [bytes([number]) * 200_000 for number in range(4)]
    await blobs.put(KEY, big[0], JPEG)

    async def write() -> None:
        for number in range(20):
            await blobs.put(KEY, big[number % 4], JPEG)

    async def read() -> None:
        for _ in range(40):
            assert await blobs.get(KEY) in big

    await asyncio.gather(write(), write(), read(), read())


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("")
    with pytest.raises(Setup, match="VANTAGE_BLOB_URL"):
        FileBlobs(tmp_path / "blobs")
