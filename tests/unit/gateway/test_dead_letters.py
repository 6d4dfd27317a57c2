"""Dead letters over HTTP: found, shown, and sent back once, to their group alone (R11)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from schemas import topics
from schemas.events.camera_status_changed import CameraStatusChanged
from services.gateway.models import dead_letter_replays
from services.gateway.service import SERVICE
from shared.bus.dead_letters import dead_topic
from shared.bus.port import Batch, Log, Message, Subscription
from shared.bus.publisher import message
from shared.clock import ManualClock, SystemClock
from shared.db.engine import Database
from shared.errors import Poison
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.service import Running, Service
from shared.settings import Configuration, PlatformSettings
from tests.contract.bus import everything, until
from tests.unit.platform import toys

DEAD = "/api/v1/dead-letters"
REPLAYS = f"{DEAD}/replays"


def kept(service: Service, seen: list[ServicePlatform]) -> Service:
    """The same service, whose platform we keep."""

    @asynccontextmanager
    async def start(platform: ServicePlatform, settings: Any) -> AsyncIterator[Running]:
        seen.append(platform)
        async with service.start(platform, settings) as given:
            yield given

    return replace(service, start=start)


@dataclass
class Rig:
    """A gateway beside two groups on `camera-status`: one that fails on odd numbers, one that takes all."""

    owner: httpx.AsyncClient
    platform: ServicePlatform
    database: Database
    clock: ManualClock
    bad: bool = True
    effects: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def log(self) -> Log:
        return self.platform.log

    async def fails_on_odd(self, batch: Batch) -> None:
        for envelope in batch.envelopes:
            number = int(envelope.id)
            if self.bad and number % 2:
                raise Poison("odd") if number % 3 else LookupError("canary in a traceback")
        self.effects += [envelope.id for envelope in batch.envelopes]

    async def takes_all(self, batch: Batch) -> None:
        self.others += [envelope.id for envelope in batch.envelopes]

    async def say(self, count: int) -> None:
        said = [
            self.platform.publisher.mint(
                CameraStatusChanged(camera="door", state="online", attempt=n, changed_at=n),
                id=str(n),
            )
            for n in range(count)
        ]
        await self.log.append([message(one) for one in said])

    async def until(self, holds: Callable[[], bool]) -> None:
        await until(holds)

    async def settled(self, count: int) -> None:
        """All were handled or parked."""
        await until(lambda: len(self.others) == count)
        for _ in range(1_000):
            if len(await self.letters()) + len(self.effects) == count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not settled: {self.effects}")

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        answer = await self.owner.get(DEAD, params=query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def replay(self, **body: Any) -> dict[str, Any]:
        answer = await self.owner.post(REPLAYS, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def on_the_log(self) -> int:
        return len(await everything(self.log, topics.CAMERA_STATUS))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    seen: list[ServicePlatform] = []
    rig: Rig

    async def failing(batch: Batch) -> None:
        await rig.fails_on_odd(batch)

    async def taking(batch: Batch) -> None:
        await rig.takes_all(batch)

    heard = (topics.CAMERA_STATUS,)
    options = {"retry_base": 0.001, "retry_cap": 0.002}
    running = Running(
        subscriptions=[
            Subscription(topics=heard, handler=failing, group="toy", options=options),
            Subscription(topics=heard, handler=taking, group="toy-other"),
        ]
    )
    toy = toys.service(running, seen=seen, consumes=heard, produces=heard)
    toys.write_key(tmp_path / "keys")
    settings = PlatformSettings(data_dir=tmp_path, bus_url="memory://")
    clock = ManualClock(SystemClock().now())
    app = application(
        [kept(SERVICE, seen), toy], settings, configuration=Configuration(), clock=clock
    )
    async with toys.lifespan(app), toys.caller(app, owner=True) as owner:
        gateway, platform = seen
        rig = Rig(owner, platform, gateway.database, clock)
        yield rig


async def test_letters_are_listed_with_where_they_came_from_and_why(rig: Rig) -> None:
    await rig.say(8)
    await rig.settled(8)
    letters = await rig.letters()
    assert [one["id"] for one in letters] == ["1", "3", "5", "7"]
    assert [one["error"] for one in letters] == ["Poison", "LookupError", "Poison", "Poison"]
    assert [one["attempts"] for one in letters] == [1, 3, 1, 1]
    first = letters[0]
    assert first["place"] == "camera-status.dead/0/0"
    assert (first["origin"]["topic"], first["group"]) == ("camera-status", "toy")
    assert (first["reason"], first["replayed_at"]) == ("odd", None)
    assert await rig.letters(error="Poison", group="toy", topic="camera-status") != []
    assert await rig.letters(group="toy-other") == []
    assert [one["id"] for one in await rig.letters(id="5")] == ["5"]
    assert await rig.letters(**{"from": "2999-01-01T00:00:00Z"}) == []
    assert await rig.letters(to="2000-01-01T00:00:00Z") == []
    page = (await rig.owner.get(DEAD, params={"limit": 3})).json()
    rest = await rig.letters(cursor=page["next"])
    assert [one["id"] for one in [*page["items"], *rest]] == ["1", "3", "5", "7"]


async def test_one_is_shown_with_its_value_and_its_traceback(rig: Rig) -> None:
    await rig.say(4)
    await rig.settled(4)
    [odd] = await rig.letters(error="LookupError")
    topic, _, offset = odd["place"].split("/")
    shown = (await rig.owner.get(f"{DEAD}/{topic}/{offset}")).json()
    assert shown["value"]["camera"] == "door"
    assert shown["headers"]["ce_id"] == "3"
    assert "canary in a traceback" in shown["traceback"]
    assert (await rig.owner.get(f"{DEAD}/{topic}/99")).status_code == 404


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"topic": "frames"}, "ephemeral"),
        ({"topic": "nothing"}, "is no topic"),
        ({"cursor": "alerts/1"}, "no place"),
        ({"cursor": "alerts.dead/0/x"}, "no place"),
        ({"from": "yesterday"}, "RFC 3339"),
        ({"limit": 0}, "greater"),
        ({"other": 1}, "Extra"),
    ],
)
async def test_what_makes_no_sense_is_refused(rig: Rig, query: dict[str, Any], why: str) -> None:
    listed = await rig.owner.get(DEAD, params=query)
    asked = await rig.owner.post(REPLAYS, json=query)
    for answer in (listed, asked):
        assert answer.status_code == 422
        assert why in answer.text


async def test_r11_letters_go_back_once_with_one_effect_each(rig: Rig) -> None:
    await rig.say(10)
    await rig.settled(10)
    rig.bad = False
    before = await rig.on_the_log()
    counted = await rig.replay(dry_run=True)
    assert (counted["matched"], counted["replayed"]) == (5, 0)
    assert {(one["error"], one["count"]) for one in counted["by"]} == {
        ("Poison", 3),
        ("LookupError", 2),
    }
    assert await rig.on_the_log() == before
    assert (await rig.replay(error="LookupError"))["replayed"] == 2
    await rig.until(lambda: len(rig.effects) == 7)
    first = await rig.replay(limit=2)
    assert (first["replayed"], first["already"]) == (1, 1)
    rest = await rig.replay(cursor=first["next"])
    assert (rest["replayed"], rest["already"], rest["next"]) == (2, 1, None)
    await rig.until(lambda: len(rig.effects) == 10)
    again = await rig.replay()
    assert (again["matched"], again["replayed"], again["already"]) == (5, 0, 5)
    assert sorted(rig.effects, key=int) == [str(n) for n in range(10)]
    assert len(rig.others) == 10
    assert await rig.on_the_log() == before + 5
    assert all(one["replayed_at"] for one in await rig.letters())


async def test_a_replay_that_was_cut_off_before_the_log_is_done_later(rig: Rig) -> None:
    await rig.say(2)
    await rig.settled(2)
    rig.bad = False
    [letter] = await rig.letters()
    place = "/".join(str(one) for one in letter["origin"].values())
    row = {"origin": f"{place}/toy", "begun_at": rig.clock.now(), "done_at": None}
    async with rig.database.transaction() as tx:
        await tx.execute(insert(dead_letter_replays), row)
    refused = await rig.owner.post(REPLAYS, json={})
    assert (refused.status_code, "began just now" in refused.text) == (409, True)
    rig.clock.advance(120)
    assert (await rig.replay())["replayed"] == 1
    await rig.until(lambda: rig.effects == ["0", "1"])
    assert (await rig.replay())["already"] == 1


async def test_a_replay_that_was_cut_off_after_the_log_is_not_done_twice(rig: Rig) -> None:
    await rig.say(2)
    await rig.settled(2)
    rig.bad = False
    assert (await rig.replay())["replayed"] == 1
    await rig.until(lambda: rig.effects == ["0", "1"])
    async with rig.database.transaction() as tx:
        await tx.execute(update(dead_letter_replays).values(done_at=None))
    rig.clock.advance(120)
    before = await rig.on_the_log()
    assert (await rig.replay())["replayed"] == 0
    assert await rig.on_the_log() == before
    assert (await rig.replay())["already"] == 1


async def test_two_copies_of_a_letter_are_one(rig: Rig) -> None:
    await rig.say(2)
    await rig.settled(2)
    rig.bad = False
    [letter] = await everything(rig.log, dead_topic(topics.CAMERA_STATUS))
    copy = Message(
        topic=letter.partition.topic, key=letter.key, value=letter.value, headers=letter.headers
    )
    await rig.log.append([copy])
    answer = await rig.replay()
    assert (answer["matched"], answer["replayed"], answer["copies"]) == (2, 1, 1)
    await rig.until(lambda: rig.effects == ["0", "1"])


async def test_who_sent_them_back_stands_in_the_audit_trail(rig: Rig) -> None:
    await rig.say(6)
    await rig.settled(6)
    await rig.replay(error="Poison", dry_run=True)
    await rig.replay(error="Poison")
    query = {"action": "dead-letters.replayed"}
    items: list[dict[str, Any]] = []
    for _ in range(1_000):
        items = (await rig.owner.get("/api/v1/audit", params=query)).json()["items"]
        if items:
            break
        await asyncio.sleep(0.02)
    [entry] = items
    assert (entry["actor"], entry["object"]) == ("owner", "topic:camera-status")
    assert entry["reason"] == "2 of group toy, Poison"
