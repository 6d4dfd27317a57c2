"""What differs between a topic of ours and a broker's, decided without a broker."""

from collections.abc import Mapping

import msgspec
import pytest

from schemas.event import Topic
from shared.bus.topics import Found, configs, differences, replicas

TOPIC = Topic(name="t", kind="durable", partitions=4, retention_hours=2, description="of a test")
TABLE = Topic(name="c", kind="compacted", partitions=1, description="of a test")
FRAMES = Topic(name="f", kind="ephemeral", partitions=8, description="of a test")


def found(topic: Topic, copies: int = 3, changed: Mapping[str, str] | None = None) -> Found:
    wanted = configs(topic, copies) | dict(changed or {})
    return Found(partitions=topic.partitions, replicas=copies, configs=wanted)


@pytest.mark.parametrize("topic", [TOPIC, TABLE, FRAMES], ids=lambda topic: topic.kind)
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_what_we_would_make_does_not_differ(topic: Topic, copies: int) -> None:
    assert differences(topic, found(topic, copies=copies), copies) == []


def test_a_missing_topic_is_created() -> None:
    [one] = differences(TOPIC, None, 3)
    assert (one.how, one.wanted) == ("create", "4 partitions, 3 replicas")


@pytest.mark.parametrize("partitions", [1, 3, 5])
def test_another_number_of_partitions_is_never_ours_to_change(partitions: int) -> None:
    there = msgspec.structs.replace(found(TOPIC), partitions=partitions)
    [one] = differences(TOPIC, there, 3)
    assert one.how == "by hand"
    assert "its keys another place" in one.remedy
    assert f"{partitions}, wanted 4" in str(one)


def test_fewer_copies_are_moved_by_hand_and_more_are_no_fault() -> None:
    [one] = differences(TOPIC, found(TOPIC, copies=1), 3)
    assert (one.what, one.how) == ("replicas", "by hand")
    assert differences(TOPIC, found(TOPIC, copies=3), 2) == []


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("retention.ms", "1000", "7200000"),
        ("cleanup.policy", "compact", "delete"),
        ("min.insync.replicas", "1", "2"),
        ("max.message.bytes", "1000", "1048588"),
    ],
)
def test_each_configuration_is_compared(name: str, value: str, wanted: str) -> None:
    [one] = differences(TOPIC, found(TOPIC, 3, {name: value}), 3)
    assert (one.what, one.found, one.wanted, one.how) == (
        name,
        value,
        wanted,
        "alter",
    )


def test_the_copies_that_must_be_in_sync_fit_the_copies_that_are_there() -> None:
    """One copy with two in sync could not be written at all."""
    there = found(TOPIC, 1, {"min.insync.replicas": "2"})
    wrong = {one.what: one.wanted for one in differences(TOPIC, there, 3)}
    assert wrong == {"replicas": "3", "min.insync.replicas": "1"}


def test_a_topic_kept_for_ever_is_not_shortened_by_the_brokers_default() -> None:
    kept = msgspec.structs.replace(TOPIC, retention_hours=None)
    assert configs(kept, 3)["retention.ms"] == "-1"


def test_hidden_configurations_are_said_to_be_unseen() -> None:
    there = msgspec.structs.replace(found(TOPIC), configs=None)
    assert [one.how for one in differences(TOPIC, there, 3)] == ["unseen"]


@pytest.mark.parametrize(
    ("brokers", "setting", "copies"), [(1, None, 1), (2, None, 2), (9, None, 3), (3, 2, 2)]
)
def test_copies_follow_the_brokers_or_the_setting(
    brokers: int, setting: int | None, copies: int
) -> None:
    assert replicas(brokers, setting) == copies
