"""Webhooks as Standard Webhooks 1.0 has them: signed, 2xx only, no redirect, a small answer, one time limit."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from typing import TYPE_CHECKING

import httpx

from services.notifier.domain import Answer, signature_headers
from shared.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from services.notifier.channels.port import Message, Target
    from shared.security.egress import Egress

ANSWER_LIMIT = 64 * 1024  # bytes of the answer that are read
DETAIL_LIMIT = 200  # characters of the answer that are kept


class WebhookChannel:
    """Posts to a URL through the egress guard's client; `seconds` limits one try as a whole."""

    def __init__(self, egress: Egress, client: httpx.AsyncClient, seconds: float) -> None:
        self._egress = egress
        self._client = client
        self._seconds = seconds

    async def check(self, target: Target) -> None:
        """Refuse an address that may not be called, naming the setting that would allow it."""
        await self._egress.webhook(target.url)

    async def send(self, message: Message, target: Target) -> Answer:
        """Post once; every failure is an answer with status 0."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(message, target)
        except TimeoutError:
            return Answer(status=0, detail=f"no answer within {self._seconds:g} s")
        except httpx.TimeoutException as error:
            return Answer(status=0, detail=f"no answer in time ({type(error).__name__})")
        except (Invalid, Unavailable) as error:
            return Answer(status=0, detail=str(error))
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return Answer(status=0, detail=f"{type(error).__name__}: {error}"[:DETAIL_LIMIT])

    async def _post(self, message: Message, target: Target) -> Answer:
        headers = {
            "content-type": "application/json",
            **signature_headers(message.id, message.timestamp, message.body, target.secrets),
        }
        async with self._client.stream(
            "POST", target.url, content=message.body, headers=headers
        ) as response:
            text = await _head(response)
            return Answer(
                status=response.status_code,
                detail=f"HTTP {response.status_code} {text}".strip()[:DETAIL_LIMIT],
                retry_after=_retry_after(response.headers.get("retry-after"), time.time()),
            )


async def _head(response: httpx.Response) -> str:
    """The beginning of an answer's body: an endless one is cut off, not read."""
    read = b""
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) >= ANSWER_LIMIT:
            break
    printable = read[:DETAIL_LIMIT].decode("utf-8", "replace")
    return "".join(letter for letter in printable if letter.isprintable())


def _retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a peer asks us to wait: a number, or an HTTP date."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None
