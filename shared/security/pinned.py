"""An HTTP client that connects to the address that was checked, never to a second look-up of the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from shared.security.egress import Target

LARGEST_ANSWER = 1_000_000  # bytes


def pinned_client(
    check: Callable[[str], Awaitable[Target]], *, timeout: float
) -> httpx.AsyncClient:
    """A client whose every request goes through `check`; no redirects, no proxies, no environment."""
    return httpx.AsyncClient(
        transport=PinnedTransport(check),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "Vantage"},
    )


class PinnedTransport(httpx.AsyncBaseTransport):
    """Checks the URL, then connects to the pinned address; TLS still proves the host's name."""

    def __init__(self, check: Callable[[str], Awaitable[Target]]) -> None:
        self._check = check
        self._inner = httpx.AsyncHTTPTransport(retries=0, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the checked address.

        Raises:
            shared.errors.Invalid: the address is not allowed.
        """
        target = await self._check(str(request.url))
        host = request.url.host
        request.url = request.url.copy_with(host=str(target.address))
        request.extensions = {**request.extensions, "sni_hostname": host}
        response = await self._inner.handle_async_request(request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Capped(response.stream)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _Capped(httpx.AsyncByteStream):
    """An answer's body that ends with an error once it is too large."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise httpx.ReadError(f"the answer is larger than {LARGEST_ANSWER} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Close the connection's answer."""
        await self._inner.aclose()
