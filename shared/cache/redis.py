"""The cache that all processes share: Redis, spoken to with a deadline, and left alone while it is away."""

from __future__ import annotations

import asyncio
import math
import ssl
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.cache import scripts
from shared.cache.address import SETTING, Address, parse
from shared.cache.port import CacheUnavailable
from shared.errors import Setup
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.commands.core import AsyncScript

    from shared.cache.port import ReadRoll

CONNECTIONS = 64
TRIES = 3  # at the start, where it is late: the machine may be busy
CHECK_S = 2.5
PROBE_S = 0.5  # between looks at a server that is away
FILL_S = 30.0  # a roll's owner may read for so long
_WRONG_TLS = (
    "Name the authority that signed its certificate by ssl_ca_certs, and ssl_certfile with "
    "ssl_keyfile where it asks for a client certificate"
)
_LATE = (RedisTimeoutError, TimeoutError)
_GONE = (RedisConnectionError, OSError, *_LATE)
log = structlog.get_logger(component="cache")


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[RedisCache]:
    """The cache at a URL as `shared/cache/address.py` reads it.

    Raises:
        Setup: the URL is wrong, or the server is away, refuses us or is no Redis.
    """
    cache = RedisCache(parse(url))
    try:
        await cache.begin()
        healing = asyncio.create_task(cache.heal(), name="cache.heal")
        try:
            yield cache
        finally:
            healing.cancel()
            await asyncio.gather(healing, return_exceptions=True)
    finally:
        await cache.close()


class RedisCache:
    """A command that is cancelled or late gives its connection up, so that nobody reads another's answer.

    Once the server is found away, commands fail at once until `heal` finds it back: a black hole costs one timeout,
    not one a request.
    """

    def __init__(self, address: Address, *, connections: int = CONNECTIONS) -> None:
        self._address = address
        self._pool = _pool(address)
        self._redis = Redis(connection_pool=self._pool)
        # The pool itself would refuse at once; waiting is better than falling back.
        self._free = asyncio.Semaphore(connections)
        self._missing = asyncio.Event()
        self._why = ""
        self._scripts = {
            text: self._redis.register_script(text)
            for text in (
                scripts.COUNT, scripts.UNLOCK, scripts.LISTED,
                scripts.ENLIST, scripts.BEGIN, scripts.FILL,
            )
        }  # fmt: skip

    async def begin(self) -> None:
        """See that the server is there and lets us do what we need.

        Raises:
            Setup: it is not, or it does not; the text says what to do.
        """
        for left in reversed(range(TRIES)):
            try:
                async with asyncio.timeout(self._address.timeout):
                    await self._script(scripts.LISTED)(keys=[self._key("roll:")], args=[""])
                    await self._redis.set(self._key("opened"), b"1", px=1000)  # see `check`
            except (RedisError, *_GONE) as error:
                if left and isinstance(error, _LATE):
                    continue
                raise Setup(
                    f"{SETTING}={self._address.shown}: {_reason(error)}. "
                    f"{_remedy(error, self._address)}"
                ) from None
            return

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it was never set, has expired, or had to make room."""
        found: bytes | None = await self._do(lambda: self._redis.get(self._key(key)))
        return found

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` for `ttl` seconds."""
        await self._do(lambda: self._redis.set(self._key(key), value, px=_millis(ttl)))

    async def incr(self, key: str, ttl: float) -> int:
        """Count one more and return the count; it starts anew `ttl` seconds after its first one."""
        return int(await self._run(scripts.COUNT, key, _millis(ttl)))

    async def delete(self, key: str) -> bool:
        """Forget the key; says whether it was known."""
        return bool(await self._do(lambda: self._redis.delete(self._key(key))))

    async def lock(self, key: str, ttl: float) -> str | None:
        """Take the lock for `ttl` seconds: a token to give it back with, or None where another holds it."""
        token = uuid.uuid4().hex
        taken = await self._do(
            lambda: self._redis.set(self._key(key), token, px=_millis(ttl), nx=True)
        )
        return token if taken else None

    async def unlock(self, key: str, token: str) -> bool:
        """Give the lock back; False where it was lost meanwhile, and perhaps is another's by now."""
        return bool(await self._run(scripts.UNLOCK, key, token))

    async def listed(self, roll: str, member: str) -> bool | None:
        """Whether `member` stands on the roll; None where it does not and the roll may not be whole."""
        answer = int(await self._run(scripts.LISTED, f"roll:{roll}", member))
        return None if answer < 0 else answer == 1

    async def enlist(self, roll: str, member: str, ttl: float) -> None:
        """Put `member` on the roll for `ttl` seconds. Its owner has stored it safely before."""
        await self._run(scripts.ENLIST, f"roll:{roll}", member, _millis(ttl))

    async def restore(self, roll: str, read: ReadRoll, ttl: float) -> bool:
        """Make the roll whole for the next `ttl` seconds from what its owner has stored."""
        key, token = f"roll:{roll}", uuid.uuid4().hex
        await self._run(scripts.BEGIN, key, token, _millis(FILL_S))
        members = await read()
        given = [part for name, left in members.items() for part in (name, _millis(left))]
        return bool(await self._run(scripts.FILL, key, token, _millis(ttl), *given))

    async def check(self) -> Health:
        """Degraded while it is away: everybody who uses it has another way or answers 503."""
        if not self._missing.is_set():
            try:
                async with asyncio.timeout(CHECK_S):
                    await self.set("opened", b"1", ttl=1)  # it may answer and take nothing in
            except CacheUnavailable as error:
                return Health(status="degraded", reason=str(error))
            except TimeoutError:
                return Health(status="degraded", reason="the cache is slow to answer")
            return Health(status="healthy")
        return Health(status="degraded", reason=str(self._unavailable(self._why)))

    async def heal(self) -> None:
        """Look for a server that is away, until cancelled."""
        while True:
            await self._missing.wait()
            await asyncio.sleep(PROBE_S)
            (found,) = await asyncio.gather(self._probe(), return_exceptions=True)
            if isinstance(
                found, BaseException
            ):  # whatever it is: give up looking and it is away for ever
                self._why = _reason(found)
                continue
            self._missing.clear()
            log.info("cache_is_back", server=self._address.shown)

    async def _probe(self) -> None:
        async with asyncio.timeout(self._address.timeout):
            await self._redis.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._pool.aclose()
        await asyncio.sleep(0)  # what was dropped in haste is closed by the loop's next round

    async def _run(self, script: str, key: str, *args: str | int) -> Any:  # noqa: ANN401 - what the script returns
        return await self._do(lambda: self._script(script)(keys=[self._key(key)], args=[*args]))

    def _script(self, text: str) -> AsyncScript:
        return self._scripts[text]

    async def _do(self, command: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what the command returns
        """Do one command within its deadline; cancelled in its middle, redis-py drops the connection."""
        if self._missing.is_set():
            raise self._unavailable(self._why)
        async with self._connection_free():
            try:
                async with asyncio.timeout(self._address.timeout):
                    return await command()
            except _GONE as error:
                raise self._away(error) from None
            except ResponseError as error:
                if "not an integer" in str(error):
                    raise ValueError("the key holds no count") from None
                raise self._unavailable(_reason(error), "refuses") from None
            except RedisError as error:
                raise self._unavailable(_reason(error), "refuses") from None

    @asynccontextmanager
    async def _connection_free(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._address.timeout):
                await self._free.acquire()
        except TimeoutError:
            raise self._unavailable("all connections are busy") from None
        try:
            yield
        finally:
            self._free.release()

    def _away(self, error: Exception) -> CacheUnavailable:
        self._why = _reason(error)
        if not self._missing.is_set():
            self._missing.set()
            log.warning("cache_is_away", server=self._address.shown, reason=self._why)
        return self._unavailable(self._why)

    def _unavailable(self, why: str, how: str = "is away") -> CacheUnavailable:
        return CacheUnavailable(
            f"the cache at {self._address.host}:{self._address.port} {how}: {why}"
        )

    def _key(self, key: str) -> str:
        return f"{self._address.prefix}:{key}"


def _pool(address: Address) -> ConnectionPool:
    tls = address.tls
    return ConnectionPool(
        connection_class=Connection if tls is None else SSLConnection,
        host=address.host,
        port=address.port,
        db=address.db,
        username=address.user,
        password=address.password,
        socket_timeout=address.timeout,
        socket_connect_timeout=address.timeout,
        retry=Retry(NoBackoff(), 0),  # a count must not be counted twice; callers have another way
        protocol=2,  # nothing is pushed, so bytes that nobody asked for mean a connection to drop
        **(tls or {}),
    )


def _millis(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _reason(error: BaseException) -> str:
    """Why, in the server's or the system's words; redis-py puts neither password nor value into them."""
    if isinstance(error, _LATE):
        return "no answer in time"
    return str(error).rstrip(".") or type(error).__name__


def _remedy(error: Exception, address: Address) -> str:
    """What a person does about a server that cannot be used at the start."""
    text = str(error)
    if isinstance(error, AuthenticationError | AuthorizationError) or "NOAUTH" in text:
        return "Correct the user or password in the URL"
    if isinstance(error.__cause__, ssl.SSLError) or "SSL" in text.upper():
        return _WRONG_TLS
    if isinstance(error, BusyLoadingError):
        return "Wait until it has read its data"
    if isinstance(error, InvalidResponse):
        return "There is another kind of server on this port; name the one of Redis"
    if isinstance(error, ResponseError):
        return "Allow this user all commands on its keys, INFO, TIME and EVALSHA, and a database that exists"
    if isinstance(error, _LATE) or "connecting to" in text:
        silent = "; where it speaks no TLS write redis://" if address.tls else ""
        return f"Start it, or correct host and port{silent}"
    # It took the connection and cut it: with TLS 1.3 an unwelcome client often hears no reason.
    return _WRONG_TLS if address.tls else "Write rediss:// where it speaks TLS, or correct the port"
