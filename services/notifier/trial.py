"""A test message: one try on one channel, told to the caller, written down nowhere."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from schemas.events.alert_raised import AlertRaised
from schemas.events.incident_changes import Cause
from services.notifier.channels.port import Message, Target
from services.notifier.domain import SECOND, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.notifier.channels.port import ChannelKind
    from services.notifier.messages import Messages
    from services.notifier.store import Channel
    from shared.clock import Clock


class Trial:
    """Sends a message that says of itself that it is a test."""

    def __init__(
        self,
        kinds: Mapping[str, ChannelKind],
        messages: Messages,
        clock: Clock,
        open_secrets: Callable[[Channel], tuple[str, ...]],
    ) -> None:
        self._kinds = kinds
        self._messages = messages
        self._clock = clock
        self._open_secrets = open_secrets

    async def send(self, channel: Channel) -> dict[str, Any]:
        """Try once, also on a channel that is off."""
        now = self._clock.now()
        identity = uuid.uuid4().hex
        body = self._messages.webhook(
            sample(identity, now), camera_name="Test", incident_state="OPEN"
        )
        message = Message(id=f"msg_test_{identity}", timestamp=now // SECOND, body=body)
        target = Target(url=channel.url, secrets=self._open_secrets(channel))
        answer = await self._kinds[channel.kind].send(message, target)
        delivered = judge(answer) == "delivered"
        return {
            "id": message.id,
            "delivered": delivered,
            "status": answer.status,
            "detail": answer.detail,
        }


def sample(identity: str, now: int) -> AlertRaised:
    """An alert that nobody should act on."""
    cause = Cause(
        rule="test", rule_version="1.0.0", rule_hash="", camera_version=0, model="", tracker="",
        topic="", partition=-1, offset=-1,
    )  # fmt: skip
    return AlertRaised(
        alert=f"test-{identity}", incident=f"test-{identity}", camera="test", camera_name="Test",
        site="test", severity="info", title="Test message",
        summary="This is a test of the notification channel. Nothing happened.",
        epoch=0, seq=0, matched_at=now, raised_at=now, margin=0.0, simulated=True, snapshot="",
        cause=cause,
    )  # fmt: skip
