"""Ways out. Adding one is a file here and a line in `KINDS`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.notifier.channels.console import ConsoleChannel
from services.notifier.channels.port import ChannelKind, Message, Target
from services.notifier.channels.webhook import WebhookChannel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.security.egress import Egress

__all__ = ["KINDS", "ChannelKind", "Message", "Target", "open_channels"]

KINDS = ("console", "webhook")


@asynccontextmanager
async def open_channels(egress: Egress, seconds: float) -> AsyncIterator[dict[str, ChannelKind]]:
    """One sender per kind of channel; `seconds` is the longest that one try may take."""
    # The client's own limits come first: a TLS handshake that is cancelled from outside leaves its socket open.
    async with egress.http_client(timeout=0.8 * seconds) as client:
        yield {"console": ConsoleChannel(), "webhook": WebhookChannel(egress, client, seconds)}
