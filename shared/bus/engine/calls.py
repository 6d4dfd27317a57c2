"""Calls of foreign code by the engine: whatever goes wrong in them comes back as a value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Hung(Exception):
    """A handler was cut off since it did not end in time. Unlike a time-out of its own it is not waited out."""


async def outcome(work: Awaitable[None], limit: float | None = None) -> Exception | None:
    """The error of a call, None where it went well. `limit`: seconds after which it is cut off as `Hung`."""
    scope = asyncio.timeout(limit)
    try:
        async with scope:
            await work
    except TimeoutError as error:
        return Hung(f"no end within {limit:g} s") if limit and scope.expired() else error
    except Exception as error:  # noqa: BLE001 -- foreign code: its error is classified, never swallowed
        return error
    return None
