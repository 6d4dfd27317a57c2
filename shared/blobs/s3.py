"""Blobs in an S3-compatible store: boto3 in a few threads of its own, every call with a deadline."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.blobs.bucket import SETTING, Bucket, parse
from shared.blobs.port import (
    BlobStat,
    BlobsUnavailable,
    checked_key,
    checked_type,
    content_type_of,
    is_name,
)
from shared.clock import micros
from shared.errors import Setup
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

THREADS = 8
CONNECT_S = 2.0
READ_S = 4.0  # without a byte
ATTEMPTS = 2
CALL_S = 30.0  # a call with its wait for a thread
CHECK_S = 2.0
MARK = ".vantage"  # written at each start to see that we may write; no key begins with a dot
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})


class Login(NamedTuple):
    """The keys of an account; None for both: boto3's own chain (environment, profile, role)."""

    access_key: str | None = None
    secret_key: str | None = None


@asynccontextmanager
async def open_s3(url: str, login: Login | None = None) -> AsyncIterator[S3Blobs]:
    """The store at a URL as `shared/blobs/bucket.py` reads it.

    Raises:
        Setup: the URL is wrong, the store is away, or it does not let us read and write the bucket.
    """
    bucket = parse(url)
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
    try:
        loop = asyncio.get_running_loop()
        client = await loop.run_in_executor(threads, _begun, bucket, login or Login())
        yield S3Blobs(bucket, client, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class S3Blobs:
    """The blob store in a bucket. One PUT is one blob: readers see the old one or the new one."""

    def __init__(self, bucket: Bucket, client: Any, threads: ThreadPoolExecutor) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
        self._bucket = bucket
        self._client = client
        self._threads = threads
        self._look: asyncio.Future[object] | None = None

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, whole or not at all."""
        checked_type(checked_key(key), content_type)
        await self._call(
            self._client.put_object, **self._at(key), Body=data, ContentType=content_type
        )

    async def get(self, key: str) -> bytes | None:
        """The blob, or None."""
        return await self._call(_read, self._client, self._at(checked_key(key)))

    async def stat(self, key: str) -> BlobStat | None:
        """What is known of the blob, or None."""
        found = await self._call(_head, self._client, self._at(checked_key(key)))
        return None if found is None else _stat(key, found["ContentLength"], found["LastModified"])

    async def delete(self, key: str) -> bool:
        """Remove the blob; says whether there was one."""
        return await self._call(_delete, self._client, self._at(checked_key(key)))

    async def list(self, prefix: str = "") -> Sequence[BlobStat]:
        """All blobs in the folder that `prefix` names (empty: everywhere), by key."""
        folder = f"{checked_key(prefix.removesuffix('/'))}/" if prefix else ""
        return await self._call(_list, self._client, self._bucket, folder)

    async def check(self) -> Health:
        """Degraded while the store is away: pictures are missing, everything else goes on."""
        if self._look is None or self._look.done():  # a store that hangs costs one thread, not all
            ask = self._call(self._client.head_bucket, Bucket=self._bucket.name)
            self._look = asyncio.ensure_future(ask)
        try:
            await asyncio.wait_for(asyncio.shield(self._look), CHECK_S)
        except TimeoutError:
            return Health(status="degraded", reason=f"{self._bucket.shown} does not answer")
        except BlobsUnavailable as error:
            return Health(status="degraded", reason=str(error))
        return Health(status="healthy")

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": f"{self._bucket.prefix}{key}"}

    async def _call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call in a thread. A caller who gives up leaves it to end by its own time limits."""
        from botocore.exceptions import BotoCoreError, ClientError

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_S):
                return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))
        except TimeoutError:
            why = f"no answer within {CALL_S:g} s"
        except (BotoCoreError, ClientError, OSError) as error:
            why = _reason(error)
        raise BlobsUnavailable(f"the blob store {self._bucket.shown} is away: {why}")


def _begun(bucket: Bucket, login: Login) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """A client that was seen to read and write the bucket. Imports boto3, which takes a while."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = _client(bucket, login)
        client.head_bucket(Bucket=bucket.name)
        client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)
        client.put_object(Bucket=bucket.name, Key=f"{bucket.prefix}{MARK}", Body=b"")
    except (BotoCoreError, ClientError, OSError) as error:
        raise Setup(
            f"{SETTING}={bucket.shown}: {_reason(error)}. {_remedy(error, bucket)}."
        ) from None
    return client


def _client(bucket: Bucket, login: Login) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=login.access_key,
        aws_secret_access_key=login.secret_key,
        verify=bucket.ca,
        config=Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=THREADS,
            # Stores of others are reached by path, and few know Amazon's newer checksums.
            s3={"addressing_style": "path" if bucket.endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _read(client: Any, at: dict[str, str]) -> bytes | None:  # noqa: ANN401 - see S3Blobs
    found = _unless_absent(client.get_object, at)
    if found is None:
        return None
    with found["Body"] as body:
        data: bytes = body.read()
    return data


def _head(client: Any, at: dict[str, str]) -> dict[str, Any] | None:  # noqa: ANN401 - see S3Blobs
    return _unless_absent(client.head_object, at)


def _delete(client: Any, at: dict[str, str]) -> bool:  # noqa: ANN401 - see S3Blobs
    if _head(client, at) is None:  # a deletion itself does not tell
        return False
    client.delete_object(**at)
    return True


def _unless_absent(
    call: Callable[..., dict[str, Any]], at: dict[str, str]
) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        return call(**at)
    except ClientError as error:
        if _code(error) in _ABSENT:
            return None
        raise


def _list(client: Any, bucket: Bucket, folder: str) -> list[BlobStat]:  # noqa: ANN401 - see S3Blobs
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=f"{bucket.prefix}{folder}"
    )
    found = (
        _stat(each["Key"].removeprefix(bucket.prefix), each["Size"], each["LastModified"])
        for page in pages
        for each in page.get("Contents", ())
    )
    ours = (stat for stat in found if all(map(is_name, stat.key.split("/"))))
    return sorted(ours, key=lambda stat: stat.key)


def _stat(key: str, size: int, modified: datetime) -> BlobStat:
    return BlobStat(
        key=key,
        size=size,
        modified_at=micros(modified.astimezone(UTC)),
        content_type=content_type_of(key),
    )


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _remedy(error: Exception, bucket: Bucket) -> str:
    """What a person does about a store that cannot be used at the start."""
    from botocore import exceptions

    code = _code(error)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "Set VANTAGE_S3_ACCESS_KEY and VANTAGE_S3_SECRET_KEY"
    if isinstance(error, exceptions.SSLError):
        return (
            "Name the authority that signed its certificate by ssl_ca_certs, or correct the scheme"
        )
    if isinstance(error, exceptions.NoRegionError) or code in (
        *("AuthorizationHeaderMalformed", "PermanentRedirect", "301", "400"),
    ):
        return "Name the bucket's region by region=..."
    if code in ("404", "NoSuchBucket"):
        return f"Create the bucket {bucket.name}, or correct its name"
    if code in ("403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"):
        return (
            "Correct VANTAGE_S3_ACCESS_KEY and VANTAGE_S3_SECRET_KEY, or allow them to list the bucket "
            "and to get, put and delete in it"
        )
    return "Start it, or correct the endpoint"
