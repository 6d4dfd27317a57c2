"""Our topics on the brokers: what differs, and its remedy. The answers of aiokafka's admin client end here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from schemas.topics import TOPICS
from shared.bus.dead_letters import with_dead
from shared.bus.kafka.access import Access, servers
from shared.bus.kafka.alter import alter
from shared.bus.kafka.contact import greet
from shared.bus.topics import Difference, Found, configs, differences, replicas
from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from schemas.event import Topic

KNOWN = 15.0  # seconds until every broker knows a topic that was made
UNANSWERED = "Kafka does not answer about topics"
LOOK = "see whether the brokers run, and whether the disk of one is full or read-only: their own log says"


@asynccontextmanager
async def open_topics(
    url: str,
    topics: Iterable[Topic] = TOPICS,
    *,
    access: Access | None = None,
    replication: int | None = None,
) -> AsyncIterator[KafkaTopics]:
    """The topics at `kafka://host:port[,host:port]`, each with its dead letters.

    Raises:
        Setup: no broker can be used.
    """
    access = access or Access()
    await greet(servers(url), access)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers(url), **access.options())
    try:
        with _refusals():
            await admin.start()
        yield KafkaTopics(admin, with_dead(topics), replication)
    finally:
        await admin.close()


class KafkaTopics:
    """The port `Topics` on Kafka."""

    def __init__(
        self, admin: AIOKafkaAdminClient, topics: Iterable[Topic], replication: int | None
    ) -> None:
        self._admin = admin
        self._topics = {topic.name: topic for topic in topics}
        self._replication = replication

    async def plan(self) -> Sequence[Difference]:
        """See `Topics.plan`."""
        with _refusals():
            copies, found = await self._copies(), await self._found()
        return [
            one
            for name, topic in sorted(self._topics.items())
            for one in differences(topic, found.get(name), copies)
        ]

    async def apply(self, differences: Iterable[Difference]) -> None:
        """See `Topics.apply`."""
        wanted = list(differences)
        with _refusals():
            await self._create([d.topic for d in wanted if d.how == "create"])
            changes: dict[str, dict[str, str]] = {}
            for one in wanted:
                if one.how == "alter":
                    changes.setdefault(one.topic, {})[one.what] = one.wanted
            if changes:
                _raise(await alter(self._admin, changes), "change")
                await self._until(lambda: self._all_show(changes), "show what was set on", changes)

    async def _create(self, names: Sequence[str]) -> None:
        if not names:
            return
        copies = await self._copies()
        made = [_new(self._topics[name], copies) for name in names]
        answer = await self._admin.create_topics(made)
        refused = {name: (code, text) for name, code, text in answer.topic_errors}
        _raise({n: r for n, r in refused.items() if not _is_there(r[0])}, "create")
        await self._until(lambda: self._all_know(names), "lead", names)

    async def _until(
        self, done: Callable[[], Awaitable[bool]], what: str, names: Iterable[str]
    ) -> None:
        """Wait until the brokers have heard of it: they take over from the controller a moment later."""
        try:
            async with asyncio.timeout(KNOWN):
                while not await done():  # noqa: ASYNC110 -- the brokers ring no bell
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Setup(
                f"the brokers do not {what} {', '.join(sorted(names))} {KNOWN:g} s afterwards;"
                " look at `vantage topics plan` and at the brokers"
            ) from None

    async def _all_show(self, changes: Mapping[str, Mapping[str, str]]) -> bool:
        settings = await self._configs(list(changes))  # of one broker
        return all(changes[name].items() <= found.items() for name, found in settings.items())

    async def _all_know(self, names: Sequence[str]) -> bool:
        """Whether all know a leader of each partition: a client may ask any of them."""
        for broker in (await self._admin.describe_cluster())["brokers"]:
            request = MetadataRequest(list(names), allow_auto_topic_creation=False)
            answer = await self._admin._client.send(broker["node_id"], request)
            about = {one["topic"]: one for one in answer.to_object()["topics"]}
            if any(not _led(about.get(name), self._topics[name].partitions) for name in names):
                return False
        return True

    async def _copies(self) -> int:
        brokers = len((await self._admin.describe_cluster())["brokers"])
        copies = replicas(brokers, self._replication)
        if copies > brokers:
            raise Setup(
                f"VANTAGE_KAFKA_REPLICATION={copies}, but {brokers} brokers answer;"
                " start the others or lower it"
            )
        return copies

    async def _found(self) -> Mapping[str, Found]:
        there = sorted(self._topics.keys() & set(await self._admin.list_topics()))
        if not there:
            return {}
        about = {one["topic"]: one for one in await self._admin.describe_topics(there)}
        _raise({name: (one["error_code"], "") for name, one in about.items()}, "read")
        settings = await self._configs(there)
        return {name: _found(about[name]["partitions"], settings.get(name)) for name in there}

    async def _configs(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """The configurations of these topics; those that we may not read are missing."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        [answer] = await self._admin.describe_configs(asked)
        found = {}
        for code, text, _, name, entries in answer.resources:
            if for_code(code) is not TopicAuthorizationFailedError:
                _raise({name: (code, text)}, "read")
                found[name] = {entry[0]: entry[1] for entry in entries}
        return found


async def ensure(topics: KafkaTopics) -> Sequence[Difference]:
    """Create the topics that are missing; returns what else differs.

    Raises:
        Setup: a topic has another number of partitions, so its keys would change their places.
    """
    found = await topics.plan()
    for one in found:
        if one.what == "partitions":
            raise Setup(f"the Kafka topic {one}")
    missing = [one for one in found if one.how == "create"]
    await topics.apply(missing)
    return [one for one in found if one not in missing]


class _refusals:  # noqa: N801 -- reads as a statement
    """Whatever Kafka answers here concerns the set-up."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError | KafkaError):
            raise Setup(f"{UNANSWERED}: {error!r}; {LOOK}") from error


def _raise(refused: Mapping[str, tuple[int, str | None]], what: str) -> None:
    for name, (code, text) in refused.items():
        error = for_code(code)
        if error is NoError:
            continue
        remedy = "look at the broker's own log"
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            remedy = "give this login the right, or run `vantage topics apply` with one that has it"
        said = f" ({text})" if text else ""
        raise Setup(
            f"Kafka does not let us {what} the topic {name!r}: {error.__name__}{said}; {remedy}"
        )


def _is_there(code: int) -> bool:
    return code == 0 or for_code(code) is TopicAlreadyExistsError


def _led(about: Mapping[str, Any] | None, partitions: int) -> bool:
    led = [one for one in about["partitions"] if one["leader"] >= 0] if about else []
    return len(led) >= partitions


def _found(partitions: Sequence[Mapping[str, Any]], settings: Mapping[str, str] | None) -> Found:
    fewest = min((len(one["replicas"]) for one in partitions), default=0)
    return Found(partitions=len(partitions), replicas=fewest, configs=settings)


def _new(topic: Topic, copies: int) -> NewTopic:
    return NewTopic(topic.name, topic.partitions, copies, topic_configs=configs(topic, copies))
