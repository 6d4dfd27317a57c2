"""Dead letters: found on the log, shown, and sent back to the group that could not digest them."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.cloudevents import rfc3339
from schemas.topics import TOPICS
from shared.bus.dead_letters import (
    PREFIX,
    RETURNED_FROM,
    Origin,
    dead_topic,
    origin,
    place_of,
    returned,
)
from shared.bus.port import Partition, Record
from shared.bus.reading import first_at, records
from shared.errors import Conflict, Invalid, NotFound
from shared.security.redaction import scrub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from schemas.event import Topic
    from services.gateway.store import Replay, ReplayStore
    from shared.audit import Audit
    from shared.bus.port import Log
    from shared.clock import Clock
    from shared.db.engine import Database

HAVE_DEAD = {topic.dead: topic for topic in TOPICS if topic.kind != "ephemeral"}
UNSURE_S = 60.0  # a replay that began longer ago and did not end was cut off
SLACK_US = 60_000_000  # clocks of hosts differ by less
SHOWN = 64_000  # bytes of a value


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant: None stands for all. `since` and `until`: when they were parked."""

    topic: str | None = None
    group: str | None = None
    error: str | None = None
    id: str | None = None
    since: int | None = None
    until: int | None = None

    def topics(self) -> list[Topic]:
        """The topics to look at, by name.

        Raises:
            Invalid: the topic is unknown, or ephemeral: what may be dropped leaves no dead letters.
        """
        name = None if self.topic is None else self.topic.removesuffix(".dead")
        if name is not None and f"{name}.dead" not in HAVE_DEAD:
            known = ", ".join(sorted(topic.name for topic in HAVE_DEAD.values()))
            kinds = {topic.name: topic.kind for topic in TOPICS}
            why = "is ephemeral and has no dead letters" if name in kinds else "is no topic"
            raise Invalid(f"topic: {name!r} {why}; these have some: {known}", field="topic")
        found = [topic for topic in HAVE_DEAD.values() if name in (None, topic.name)]
        return sorted(found, key=lambda topic: topic.name)

    def covers(self, record: Record, told: Origin) -> bool:
        """Whether a dead letter is meant."""
        same = (
            self.group in (None, told.group)
            and self.error in (None, told.error)
            and self.id in (None, _header(record, "ce_id"))
        )
        after = self.since is None or told.parked_at >= self.since
        return same and after and (self.until is None or told.parked_at < self.until)


class Letter(msgspec.Struct, frozen=True):
    """A dead letter and what its headers tell."""

    record: Record
    told: Origin

    @property
    def place(self) -> str:
        """Where it lies, e.g. `alerts.dead/0/17`."""
        return _place(self.record)


class DeadLetters:
    """The dead letters of every topic. What was sent back is remembered by origin and group, so it goes once."""

    def __init__(
        self, log: Log, database: Database, clock: Clock, *, store: ReplayStore, audit: Audit
    ) -> None:
        self._store = store
        self._log = log
        self._database = database
        self._clock = clock
        self._audit = audit

    async def page(
        self, wanted: Wanted, *, after: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Up to `limit` of them in the order of topic and place, after a place; and the place to go on after."""
        letters, on = await self._some(wanted, after, limit, values=False)
        done = await self._done(letters)
        return [_shown(letter, done.get(place_of(letter.told))) for letter in letters], on

    async def show(self, topic: str, offset: int) -> dict[str, Any]:
        """One of them with its headers, its value and the traceback.

        Raises:
            NotFound: there is none.
        """
        wanted = Wanted(topic=topic)
        [source] = wanted.topics()
        async for letter in self._letters(source, offset):
            if letter.record.offset != offset:
                break
            done = await self._done([letter])
            return _whole(letter, done.get(place_of(letter.told)))
        raise NotFound(f"there is no dead letter {source.dead}/0/{offset}; it may have expired")

    async def replay(
        self, wanted: Wanted, *, after: str | None, limit: int, dry: bool
    ) -> dict[str, Any]:
        """Send up to `limit` of them back, each to its group alone and under its id; `dry` only counts.

        Raises:
            Transient: the log is away; the same call goes on where it was.
        """
        now = self._clock.now()
        letters, on = await self._some(wanted, after, limit, values=not dry)
        distinct = {place_of(letter.told): letter for letter in letters}
        done = await self._done(letters)
        waiting = {
            name: one
            for name, one in distinct.items()
            if name not in done or done[name].done_at is None
        }
        mine = {name: one for name, one in waiting.items() if not one.told.cut}
        sent: dict[str, Letter] = {}
        if not dry:
            sent = await self._sent(mine, done)
        counted = mine if dry else sent
        return {
            "matched": len(letters),
            "replayed": 0 if dry else len(sent),
            "already": len(distinct) - len(waiting),
            "cut": len(waiting) - len(mine),
            "copies": len(letters) - len(distinct),
            "by": [
                {"topic": topic, "group": group, "error": error, "count": count}
                for (topic, group, error), count in sorted(_counted(counted.values()).items())
            ],
            "at": rfc3339(now),
            "next": on,
        }

    async def _sent(self, mine: dict[str, Letter], done: dict[str, Replay]) -> dict[str, Letter]:
        """First what is meant to be done, then the log, then what was done: a crash between is found next time."""
        cut_off = await self._cut_off({name: done[name] for name in mine if name in done})
        fresh = [name for name in mine if name not in done]
        async with self._database.transaction() as tx:
            taken = await self._store.begin(tx, fresh, at=self._clock.now())
        ours = {name: one for name, one in mine.items() if name in taken or cut_off.get(name)}
        there = {name for name, missing in cut_off.items() if missing is False}
        if ours:
            await self._log.append([returned(one.record) for one in ours.values()])
        await self._note(ours, there)
        return ours

    async def _note(self, ours: dict[str, Letter], there: set[str]) -> None:
        """They are on the log: remember it, and say who did it."""
        entries = [
            self._audit.entry(
                "dead-letters.replayed",
                f"topic:{topic}",
                reason=f"{count} of group {group}, {error}",
            )
            for (topic, group, error), count in sorted(_counted(ours.values()).items())
        ]
        async with self._database.transaction() as tx:
            await self._store.end(tx, [*ours, *there], at=self._clock.now())
            await tx.add(entries)

    async def _cut_off(self, begun: Mapping[str, Replay]) -> dict[str, bool]:
        """Of replays that began and did not end, those of a dead process: whether they never reached the log.

        Raises:
            Conflict: one began just now; another call is at it.
        """
        if not begun:
            return {}
        times = [one.begun_at for one in begun.values()]
        if self._clock.now() - max(times) < UNSURE_S * 1_000_000:
            raise Conflict(
                "another replay of these dead letters began just now; ask again in a minute"
            )
        there: set[str] = set()
        topics = {name.partition("/")[0] for name in begun}
        for topic in (topic for topic in HAVE_DEAD.values() if topic.name in topics):
            start = await first_at(self._log, topic, min(times) - SLACK_US)
            async for batch in records(self._log, [topic], since=start):
                there.update(filter(None, (_header(one, RETURNED_FROM) for one in batch)))
        return {name: name not in there for name in begun}

    async def _some(
        self, wanted: Wanted, after: str | None, limit: int, *, values: bool
    ) -> tuple[list[Letter], str | None]:
        """Up to `limit` letters after a place, and the place to go on after where there are more."""
        at_topic, at_offset = _parse_cursor(after)
        found: list[Letter] = []
        for topic in wanted.topics():
            if topic.name < at_topic:
                continue
            start = at_offset + 1 if topic.name == at_topic else 0
            async for letter in self._letters(topic, start):
                if not wanted.covers(letter.record, letter.told):
                    continue
                if len(found) == limit:
                    return found, found[-1].place
                found.append(letter if values else _light(letter))
        return found, None

    async def _letters(self, topic: Topic, start: int) -> AsyncIterator[Letter]:
        dead = dead_topic(topic)
        since = {Partition(dead.name, 0): start}
        async for batch in records(self._log, [dead], since=since):
            for record in batch:
                told = _told(record)
                if told is not None and record.offset >= start:
                    yield Letter(record, told)

    async def _done(self, letters: Iterable[Letter]) -> dict[str, Replay]:
        """What is known of sending these back, by origin."""
        names = [place_of(letter.told) for letter in letters]
        async with self._database.read() as reader:
            return await self._store.known(reader, names)


def _light(letter: Letter) -> Letter:
    """The same without its value: many may be listed, and each may be large."""
    return Letter(msgspec.structs.replace(letter.record, value=None), letter.told)


def _told(record: Record) -> Origin | None:
    """What its headers tell; None for what others put on the topic."""
    try:
        return origin(record)
    except ValueError:
        return None


def _counted(letters: Iterable[Letter]) -> Counter[tuple[str, str, str]]:
    return Counter((one.told.partition.topic, one.told.group, one.told.error) for one in letters)


def _shown(letter: Letter, replay: Replay | None) -> dict[str, Any]:
    told = letter.told
    replayed_at = None if replay is None else replay.done_at
    return {
        "place": letter.place,
        "id": _header(letter.record, "ce_id") or "",
        "type": _header(letter.record, "ce_type") or "",
        "key": letter.record.key,
        "origin": {
            "topic": told.partition.topic,
            "partition": told.partition.number,
            "offset": told.offset,
        },
        "group": told.group,
        "error": told.error,
        "reason": scrub(told.reason),
        "attempts": told.attempt,
        "first_seen": rfc3339(told.first_seen),
        "parked_at": rfc3339(told.parked_at),
        "cut": told.cut,
        "replayed_at": None if replayed_at is None else rfc3339(replayed_at),
    }


def _whole(letter: Letter, replay: Replay | None) -> dict[str, Any]:
    record = letter.record
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    value, trace = record.value or b"", headers.get(f"{PREFIX}traceback")
    return {
        **_shown(letter, replay),
        "headers": {n: text for n, text in headers.items() if not n.startswith(PREFIX)},
        "bytes": len(value),
        "value": None if record.value is None else _readable(value[:SHOWN]),
        "traceback": None if trace is None else scrub(trace),
    }


def _readable(value: bytes) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """JSON as it is, else text, else base64."""
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        pass
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _header(record: Record, name: str) -> str | None:
    for known, value in record.headers:
        if known == name:
            return value.decode(errors="replace")
    return None


def _place(record: Record) -> str:
    return f"{record.partition.topic}/{record.partition.number}/{record.offset}"


def _parse_cursor(text: str | None) -> tuple[str, int]:
    if text is None:
        return "", -1
    topic, _, rest = text.partition("/")
    number, _, offset = rest.partition("/")
    if topic not in HAVE_DEAD or number != "0" or not offset.isdecimal() or len(offset) > 18:
        raise Invalid(
            f"cursor: {text[:80]!r} is no place; use the `next` of the answer before",
            field="cursor",
        )
    return HAVE_DEAD[topic].name, int(offset)
