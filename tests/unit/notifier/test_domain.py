"""Who hears, under which id, when it is tried again, and that the reference library accepts our signature."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.alert_raised import AlertRaised
from services.notifier import domain
from services.notifier.domain import Answer, Subscription
from services.notifier.messages import Messages
from shared.errors import Invalid

EXAMPLE = Path(__file__).parents[3] / "schemas/examples/alert.raised.v1/zone-entered.json"


def example() -> AlertRaised:
    return msgspec.convert(json.loads(EXAMPLE.read_text())["value"], AlertRaised)


def listener(**changes: object) -> Subscription:
    return msgspec.convert({"id": "s", "channel": "c", "name": "n", **changes}, Subscription)


@pytest.mark.parametrize(
    ("changes", "hears"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"cameras": ["yard"]}, True),
        ({"cameras": ["gate"]}, False),
        ({"rules": ["person-enters"]}, True),
        ({"rules": ["other"]}, False),
        ({"min_severity": "high"}, True),
        ({"min_severity": "critical"}, False),
    ],
)
def test_who_hears(changes: dict[str, object], hears: bool) -> None:
    assert domain.wants(listener(**changes), example()) is hears


def test_one_id_per_alert_and_subscription() -> None:
    ids = {domain.delivery_id(alert, sub) for alert in ("a", "b") for sub in ("1", "2")}
    assert len(ids) == 4
    assert domain.delivery_id("a", "1") in ids


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "delivered"), (204, "delivered"), (299, "delivered"), (301, "retry"), (400, "retry"),
        (404, "retry"), (410, "gone"), (429, "retry"), (500, "retry"), (0, "retry"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, verdict: str) -> None:
    assert domain.judge(Answer(status=status, detail="")) == verdict


@given(jitter=st.floats(0, 0.999), attempt=st.integers(1, len(domain.SCHEDULE)))
def test_the_schedule_is_kept_within_a_tenth(jitter: float, attempt: int) -> None:
    wait = domain.next_try(attempt, 0, Answer(status=500, detail=""), jitter)
    assert wait is not None
    planned = domain.SCHEDULE[attempt - 1] * 1_000_000
    assert planned <= wait <= planned * 1.1


def test_after_the_last_try_it_is_given_up() -> None:
    answer = Answer(status=500, detail="")
    assert domain.next_try(len(domain.SCHEDULE) + 1, 0, answer, 0.0) is None


@pytest.mark.parametrize(("asked", "waits"), [(1.0, 5), (60.0, 60), (1e9, 86_400)])
def test_a_longer_retry_after_is_obeyed_up_to_a_day(asked: float, waits: int) -> None:
    answer = Answer(status=429, detail="", retry_after=asked)
    assert domain.next_try(1, 0, answer, 0.0) == waits * 1_000_000


def test_the_reference_library_accepts_our_signature() -> None:
    old, new = (domain.new_secret(secrets.token_bytes(32)) for _ in range(2))
    body = Messages("https://vantage.example").webhook(
        example(), camera_name="Back yard", incident_state="OPEN"
    )
    now = int(datetime.now(UTC).timestamp())
    headers = domain.signature_headers("msg_1", now, body, (new, old))
    for secret in (old, new):
        told = standardwebhooks.Webhook(secret).verify(body, headers)
        assert told["data"]["alert"] == example().alert
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(old).verify(body + b" ", headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", "c2VjcmV0" * 6])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(Invalid, match="whsec_"):
        domain.secret_key(secret)


def test_the_message_says_where_what_and_when_and_carries_no_picture() -> None:
    body = Messages("https://vantage.example").webhook(
        example(), camera_name="Back yard", incident_state="ACKED"
    )
    told = json.loads(body)
    assert told["type"] == "alert.raised"
    assert told["timestamp"] == "2026-11-21T04:00:03.400000Z"
    assert told["data"]["subject"] == "[high] Person enters – Back yard"
    assert "acked already" in told["data"]["text"]
    assert told["data"]["links"]["snapshot"].startswith("https://vantage.example/api/v1/incidents/")
    assert len(body) < 20_000


def test_a_camera_name_is_text_and_never_a_template() -> None:
    alert = msgspec.structs.replace(example(), title="{{7*7}}", summary="${jndi:x} <img src=x>")
    told = json.loads(
        Messages("https://v").webhook(alert, camera_name="{{x}}", incident_state="OPEN")
    )
    assert told["data"]["subject"] == "[high] {{7*7}} – {{x}}"
    assert "${jndi:x} <img src=x>" in told["data"]["text"]
