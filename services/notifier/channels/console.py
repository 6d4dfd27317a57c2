"""The operator's own page: the delivery is the event on `deliveries` that the page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.notifier.domain import Answer

if TYPE_CHECKING:
    from services.notifier.channels.port import Message, Target


class ConsoleChannel:
    """Nothing to send: once the delivery's row and event are committed, every open page has it."""

    async def check(self, target: Target) -> None:
        """Any target will do: there is none."""

    async def send(self, message: Message, target: Target) -> Answer:
        """Always delivered."""
        return Answer(status=200, detail="shown on the console")
