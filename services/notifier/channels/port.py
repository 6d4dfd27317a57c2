"""What a kind of channel promises: one try, one answer, never an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from services.notifier.domain import Answer


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said: `id` is the same on every try, `body` are the exact bytes that are signed."""

    id: str
    timestamp: int  # seconds since the epoch, of this try
    body: bytes


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where it goes; `secrets` in clear, the present one first."""

    url: str = ""
    secrets: tuple[str, ...] = ()


class ChannelKind(Protocol):
    """One kind of channel."""

    async def check(self, target: Target) -> None:
        """Refuse a target that can never work.

        Raises:
            shared.errors.Invalid: names the field, the value and the setting that would allow it.
        """
        ...

    async def send(self, message: Message, target: Target) -> Answer:
        """Try once. A failure of any kind is an answer, not an exception."""
        ...
