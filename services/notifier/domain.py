"""Who hears of an alert, under which id, when a failed delivery is tried again, and how it is signed. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from typing import TYPE_CHECKING, Literal

import msgspec

from schemas.event import CameraId
from schemas.events.incident_changes import Severity
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events.alert_raised import AlertRaised

SECOND = 1_000_000
SCHEDULE = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Seconds to wait before each further try; published in docs/notifications.md. Eight tries in about 28 h."""
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")
NAMESPACE = uuid.UUID("6f7d3c0a-52a1-5b7e-9a43-0e6d2f4b8c11")

Verdict = Literal["delivered", "retry", "gone", "rejected"]


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to hear what, through which channel. Empty filters let everything pass."""

    id: str
    channel: str
    name: str
    cameras: tuple[CameraId, ...] = ()
    rules: tuple[str, ...] = ()
    min_severity: Severity = "info"
    enabled: bool = True


def wants(subscription: Subscription, alert: AlertRaised) -> bool:
    """Whether a subscription hears of an alert."""
    return (
        subscription.enabled
        and (not subscription.cameras or alert.camera in subscription.cameras)
        and (not subscription.rules or alert.cause.rule in subscription.rules)
        and SEVERITIES.index(alert.severity) >= SEVERITIES.index(subscription.min_severity)
    )


def delivery_id(alert: str, subscription: str) -> str:
    """One distinct id per alert and subscription, whoever computes it and however often: the `webhook-id`."""
    return f"msg_{uuid.uuid5(NAMESPACE, f'{alert}/{subscription}').hex}"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel's peer said; `status` 0 when it said nothing (time-out, refused, bad TLS)."""

    status: int
    detail: str
    retry_after: float | None = None


def judge(answer: Answer) -> Verdict:
    """What an HTTP answer means: only 2xx is a delivery, a redirect is none, 410 wants no more of it.

    Other 4xx but 408, 425 and 429 are tried again as well: a wrong secret or path gets mended.
    """
    if 200 <= answer.status < 300:
        return "delivered"
    if answer.status == 410:
        return "gone"
    return "retry"


def next_try(attempt: int, now: int, answer: Answer, jitter: float) -> int | None:
    """When to try again after try number `attempt` (from 1) failed; None: never, all tries are used up.

    `jitter` in [0, 1) spreads the wait over its last tenth; a longer Retry-After of the peer is obeyed, up to a day.
    """
    if attempt > len(SCHEDULE):
        return None
    wait = SCHEDULE[attempt - 1] * (1 + 0.1 * jitter)
    if answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, 86_400.0))
    return now + round(wait * SECOND)


def new_secret(random: bytes) -> str:
    """A webhook secret in the form of Standard Webhooks, from 24 to 64 random bytes."""
    return "whsec_" + base64.b64encode(random).decode()


def secret_key(secret: str) -> bytes:
    """The key inside a secret.

    Raises:
        Invalid: it is not `whsec_` and 24 to 64 bytes in base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise Invalid(
            "secret: must be `whsec_` followed by 24 to 64 bytes in base64; leave it out to have one made",
            field="secret",
        )
    return key


def signature_headers(
    identity: str, timestamp: int, body: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """The three headers of Standard Webhooks 1.0; two secrets during a rotation give two signatures.

    `timestamp` is in seconds since the epoch. Source: standard-webhooks specification 1.0.0, symmetric signatures.
    """
    content = b".".join((identity.encode(), str(timestamp).encode(), body))
    signatures = [
        "v1,"
        + base64.b64encode(hmac.new(secret_key(secret), content, hashlib.sha256).digest()).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
