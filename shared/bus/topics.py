"""What a topic of ours must look like on a broker, and how one that is there differs from it. Pure.

Only what moves no key and no replica is ever changed by us: configurations, and topics that are missing. A wrong number
of partitions would give keys another place, and replicas are moved by Kafka's own tool; both come with the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from schemas.event import Topic

LARGEST = 1_048_588  # bytes of a batch: Kafka's own default, written down so that a broker with less is seen
REPLICAS = 3  # where there are so many brokers
FOR_EVER = "-1"
EPHEMERAL = {"retention.ms": "60000", "segment.ms": "30000"}
How = Literal["create", "alter", "by hand", "unseen"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the broker has it. `configs` None: we may not read them."""

    partitions: int
    replicas: int
    configs: Mapping[str, str] | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be, and how it gets right: by `apply`, or by hand as `remedy` says."""

    topic: str
    what: str
    found: str
    wanted: str
    how: How
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.topic}: {self.what} is {self.found}, wanted {self.wanted}"
        return f"{text}; {self.remedy}" if self.remedy else text


class Topics(Protocol):
    """The topics of a broker."""

    async def plan(self) -> Sequence[Difference]:
        """What differs now; nothing is changed.

        Raises:
            shared.errors.Setup: the broker does not answer or does not let us look.
        """
        ...

    async def apply(self, differences: Iterable[Difference]) -> None:
        """Create and alter what these say, and nothing that is to be done by hand.

        Raises:
            shared.errors.Setup: the broker refuses; names the topic and the remedy.
        """
        ...


def replicas(brokers: int, setting: int | None) -> int:
    """How many copies of each record there should be."""
    return setting or min(REPLICAS, brokers)


def configs(topic: Topic, copies: int) -> dict[str, str]:
    """The configuration of a topic that has so many copies: one of them may be away, not more."""
    found = {
        "cleanup.policy": "compact" if topic.kind == "compacted" else "delete",
        "max.message.bytes": str(LARGEST),
        "min.insync.replicas": str(max(1, copies - 1)),
    }
    if topic.kind == "ephemeral":
        return found | EPHEMERAL
    if topic.kind == "durable":
        hours = topic.retention_hours
        found["retention.ms"] = FOR_EVER if hours is None else str(hours * 3_600_000)
    return found


def differences(topic: Topic, found: Found | None, copies: int) -> list[Difference]:
    """What is not as it should be; more copies than wanted are no fault."""

    def differs(what: str, there: object, wanted: object, how: How) -> Difference:
        remedy = _remedy(topic, what)
        return Difference(
            topic=topic.name,
            what=what,
            found=str(there),
            wanted=str(wanted),
            how=how,
            remedy=remedy,
        )

    if found is None:
        wanted = f"{topic.partitions} partitions, {copies} replicas"
        return [differs("topic", "missing", wanted, "create")]
    wrong = []
    if found.partitions != topic.partitions:
        wrong.append(differs("partitions", found.partitions, topic.partitions, "by hand"))
    if found.replicas < copies:
        wrong.append(differs("replicas", found.replicas, copies, "by hand"))
    if found.configs is None:
        return [*wrong, differs("configuration", "hidden", "readable", "unseen")]
    for name, value in configs(topic, found.replicas).items():
        there = found.configs.get(name, "unset")
        if there != value:
            wrong.append(differs(name, there, value, "alter"))
    return wrong


def _remedy(topic: Topic, what: str) -> str:
    """What a person does about what we do not."""
    return {
        "partitions": (
            f"another number would give its keys another place: stop Vantage, keep what you need, delete"
            f" the topic {topic.name!r}, run `vantage topics apply`"
        ),
        "replicas": "move its replicas with kafka-reassign-partitions.sh",
        "configuration": "give this login DescribeConfigs on it",
    }.get(what, "")
