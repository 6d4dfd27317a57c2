"""Deliveries against real receivers: each of them must cost one try, one receipt, and nobody else's time."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import standardwebhooks

from schemas import cloudevents, topics
from schemas.event import Envelope, Event
from schemas.events.delivery_changed import DeliveryChanged
from services.notifier.api import Desk, NewChannel
from services.notifier.channels import ChannelKind, open_channels
from services.notifier.domain import Answer, delivery_id
from services.notifier.handlers import AlertHandler, CameraNames, IncidentHandler
from services.notifier.messages import Messages
from services.notifier.sender import Sender
from services.notifier.service import CONSOLE, CONSOLE_LISTENER
from services.notifier.store import Delivery, Store
from shared.audit import Audit
from shared.bus.port import Batch, Partition
from shared.clock import ManualClock
from shared.db.base import OUTBOX
from shared.db.engine import Database
from shared.errors import Conflict, Invalid
from shared.metrics import Metrics
from shared.security.egress import Egress
from shared.security.envelope import SecretBox
from tests.engines.databases import open_database
from tests.unit.notifier.receiver import Receiver
from tests.unit.notifier.test_domain import example

EXAMPLES = Path(__file__).parents[3] / "schemas/examples"
LOOPBACK = Egress(webhook_nets=[ip_network("127.0.0.0/8")])
RESOLVED = (EXAMPLES / "incident.moved.v1/resolved.json").read_text()


class Mint:
    """The half of a publisher that a sender needs."""

    def mint(self, event: Event, **_: Any) -> Envelope:
        return Envelope(
            id=f"e-{id(event)}", source="vantage/notifier", topic=event.topics[0].name,
            key=event.key, event=event,
        )  # fmt: skip

    async def publish(self, envelopes: object) -> None:
        raise AssertionError("the sender speaks through the outbox alone")

    def tombstone(self, topic: object, key: str) -> Envelope:
        raise AssertionError


class Rig:
    """The notifier's parts on a real database."""

    def __init__(
        self, database: Database, clock: ManualClock, kinds: dict[str, ChannelKind]
    ) -> None:
        self.database = database
        self.clock = clock
        self.store = Store(database)
        self.kinds = kinds
        box = SecretBox([b"k" * 32])
        audit = Audit(Mint(), clock)
        self.desk = Desk(database, self.store, clock, box=box, kinds=self.kinds, audit=audit)
        self.cameras = CameraNames()
        self.sender = self.new_sender("main")
        self.handler = AlertHandler(database, self.store, clock, self.sender.wake)

    def new_sender(self, owner: str) -> Sender:
        return Sender(
            self.database, self.store, Mint(), self.clock,
            kinds=self.kinds, messages=Messages("https://v"), cameras=self.cameras,
            open_secret=self.desk.open_secrets, jitter=lambda: 0.0, owner=owner,
            metrics=Metrics(),
        )  # fmt: skip

    async def hear(self, *alerts: str) -> None:
        await self.handler(
            batch(*(msgspec.structs.replace(example(), alert=name) for name in alerts))
        )

    async def send_until(self, done: Callable[[list[Delivery]], bool]) -> list[Delivery]:
        async with asyncio.timeout(30):
            job = asyncio.create_task(self.sender.run())
            try:
                while not done(rows := await self.store.history(before=None, limit=500)):
                    await asyncio.sleep(0.02)
                    assert not job.done(), job.exception()
                return rows
            finally:
                job.cancel()
                await asyncio.gather(job, return_exceptions=True)

    async def said(self) -> list[DeliveryChanged]:
        async with self.database.read() as reader:
            told = OUTBOX.select().where(OUTBOX.c.topic == topics.DELIVERIES.name)
            rows = (await reader.execute(told.order_by(OUTBOX.c.id))).mappings().all()
        decoder = msgspec.json.Decoder(DeliveryChanged)
        return [decoder.decode(row["value"]) for row in rows]


def batch(*events: Event) -> Batch:
    envelopes = tuple(
        Envelope(id=f"e{n}", source="s", topic=event.topics[0].name, key=event.key, event=event)
        for n, event in enumerate(events)
    )
    return Batch(partition=Partition("alerts", 0), envelopes=envelopes, next_offset=len(envelopes))


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    clock = ManualClock(1_795_233_600_000_000)
    database = open_database(
        database_url,
        service="notifier",
        clock=clock,
        migrations="services.notifier.migrations",
    )
    async with database as opened, open_channels(LOOPBACK, 3.0) as kinds:
        rig = Rig(opened, clock, kinds)
        async with opened.transaction() as tx:
            await rig.store.add_channel(tx, CONSOLE)
            await rig.store.add_subscription(tx, CONSOLE_LISTENER, 0)
        yield rig


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().listening() as one:
        yield one


def settled(count: int) -> Callable[[list[Delivery]], bool]:
    return lambda rows: sum(row.attempt > 0 for row in rows) >= count


async def test_each_subscription_gets_each_alert_once_and_signed(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    await rig.hear("a", "b")
    await rig.hear("a", "b")  # the log delivers again
    rows = await rig.send_until(settled(4))
    assert {row.id for row in rows} == {
        delivery_id(alert, sub) for alert in "ab" for sub in ("console", f"sub_{made['id']}")
    }
    assert all(row.state == "delivered" for row in rows)
    assert len(receiver.got) == 2
    for headers, body in receiver.got:
        # The reference library checks time stamps against now; the signature is what we look at here.
        webhook = standardwebhooks.Webhook(made["secret"])
        monkeypatch.setattr(webhook, "_Webhook__verify_timestamp", webhook_time)
        assert webhook.verify(body, headers)["type"] == "alert.raised"
    assert sorted(one.channel for one in await rig.said()) == ["console"] * 2 + ["webhook"] * 2


def webhook_time(stamp: str) -> datetime:
    return datetime.fromtimestamp(float(stamp), tz=UTC)


@pytest.mark.parametrize(
    ("change", "state", "detail"),
    [
        ({"answer": b"HTTP/1.1 500 Oops\r\n\r\nbroken"}, "retrying", "HTTP 500 broken"),
        (
            {"answer": b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\n\r\n"},
            "retrying",
            "301",
        ),
        ({"answer": b"HTTP/1.1 410 Gone\r\n\r\n"}, "failed", "410"),
        ({"hang": True}, "retrying", "no answer in time"),
        ({"reset": True}, "retrying", "Error"),
        ({"answer": b"HTTP/1.1 200 OK\r\n\r\n", "endless": True}, "delivered", "HTTP 200"),
        ({"answer": b"no HTTP at all\r\n\r\n"}, "retrying", "RemoteProtocolError"),
    ],
)
async def test_what_becomes_of_each_answer(
    rig: Rig, receiver: Receiver, change: dict[str, Any], state: str, detail: str
) -> None:
    for name, value in change.items():
        setattr(receiver, name, value)
    made = await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    await rig.hear("a")
    rows = await rig.send_until(settled(2))
    row = next(row for row in rows if row.kind == "webhook")
    assert row.state == state
    assert detail in row.detail
    receipt = (await rig.store.receipts(row.id))[0]
    assert receipt["attempt"] == 1
    channel = await rig.store.channel(made["id"])
    assert channel is not None
    assert channel.enabled is (state != "failed")


async def test_a_refused_connection_and_bad_tls_are_answers(rig: Rig, receiver: Receiver) -> None:
    tls = receiver.url.replace("http:", "https:")
    await rig.desk.create(NewChannel(name="tls", url=tls))
    await rig.desk.create(NewChannel(name="closed", url="http://127.0.0.1:1/"))
    await rig.hear("a")
    rows = await rig.send_until(settled(3))
    assert sorted(row.state for row in rows) == ["delivered", "retrying", "retrying"]
    assert ssl.OPENSSL_VERSION


async def test_a_retry_keeps_its_id_and_tells_the_incidents_state(
    rig: Rig, receiver: Receiver
) -> None:
    receiver.answer = b"HTTP/1.1 503 Busy\r\nretry-after: 60\r\n\r\n"
    await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    await rig.hear("a")
    await rig.send_until(settled(2))
    rig.clock.advance(59)
    assert len(receiver.got) == 1
    document = json.loads(RESOLVED)
    moved = cloudevents.decode(
        "incidents", "yard", tuple((k, v.encode()) for k, v in document["headers"].items()),
        json.dumps(document["value"]).encode(),
    )  # fmt: skip
    assert moved.event is not None
    await IncidentHandler(rig.database, rig.store)(batch(moved.event))
    receiver.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    rig.clock.advance(2)
    await rig.send_until(lambda rows: all(row.state == "delivered" for row in rows))
    (first, _), (second, body) = receiver.got
    assert first["webhook-id"] == second["webhook-id"]
    assert json.loads(body)["data"]["incident_state"] == "RESOLVED"


@pytest.mark.row("R18")
async def test_a_black_hole_holds_nobody_up(rig: Rig, receiver: Receiver) -> None:
    """No try comes to its time-out here, however busy the machine: so no seventeenth may begin."""
    async with Receiver().listening() as hole, open_channels(LOOPBACK, 60.0) as rig.kinds:
        rig.sender = rig.new_sender("main")
        hole.hang = True
        await rig.desk.create(NewChannel(name="hole", url=hole.url))
        await rig.desk.create(NewChannel(name="hook", url=receiver.url))
        await rig.hear(*(f"a{n}" for n in range(30)))
        await rig.send_until(lambda _rows: len(receiver.got) == 30)
        assert len(hole.got) <= 16


async def test_a_sender_that_dies_in_the_act_sends_again_under_the_same_id(
    rig: Rig, receiver: Receiver
) -> None:
    await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    receiver.hang = True
    await rig.hear("a")
    await rig.send_until(lambda _rows: len(receiver.got) == 1)  # cancelled while the peer thinks
    receiver.hang = False
    rig.sender = rig.new_sender("main")
    await rig.send_until(lambda rows: all(row.state == "delivered" for row in rows))
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_another_sender_leaves_claims_alone_until_they_run_out(
    rig: Rig, receiver: Receiver
) -> None:
    await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    await rig.hear("a")
    now = rig.clock.now()
    async with rig.database.transaction() as tx:
        mine = await rig.store.claim(tx, "one", now, now + 100, limit=9, skip=())
        theirs = await rig.store.claim(tx, "two", now, now + 100, limit=9, skip=())
        late = await rig.store.claim(tx, "two", now + 100, now + 200, limit=9, skip=())
    assert (len(mine), len(theirs), len(late)) == (2, 0, 2)


async def test_a_try_that_was_overtaken_changes_nothing(rig: Rig, receiver: Receiver) -> None:
    await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    await rig.hear("a")
    now, store = rig.clock.now(), rig.store
    slow, quick = Answer(status=500, detail="slow"), Answer(status=204, detail="")
    async with rig.database.transaction() as tx:
        mine, *_ = await store.claim(tx, "one", now, now + 100, limit=1, skip=())
        theirs, *_ = await store.claim(tx, "two", now + 100, now + 200, limit=1, skip=())
        assert mine.id == theirs.id
        assert await store.settle(
            tx,
            theirs,
            state="delivered",
            next_at=None,
            answer=quick,
            took_ms=1,
            now=now,
            owner="two",
        )
        assert not await store.settle(
            tx, mine, state="retrying", next_at=now, answer=slow, took_ms=1, now=now, owner="one"
        )
    (found,) = await store.history(before=None, limit=9, id=mine.id)
    assert (found.state, found.attempt) == ("delivered", 1)
    assert [one["status"] for one in await store.receipts(mine.id)] == [204]


async def test_an_address_that_may_not_be_called_is_refused_at_saving(rig: Rig) -> None:
    async with open_channels(Egress(), 3.0) as kinds:
        guarded = Rig(rig.database, rig.clock, kinds)
        with pytest.raises(Invalid, match="VANTAGE_WEBHOOK_NETS"):
            await guarded.desk.create(NewChannel(name="hook", url="http://127.0.0.1:9/"))
    assert [channel.id for channel in await rig.store.channels()] == ["console"]


async def test_a_taken_name_leaves_nothing_behind(rig: Rig, receiver: Receiver) -> None:
    await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    with pytest.raises(Conflict, match="hook"):
        await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    assert len(await rig.store.channels()) == 2
    assert len(await rig.store.subscriptions()) == 2


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_the_secret_is_sealed_in_the_database(
    rig: Rig, receiver: Receiver, tmp_path: Path
) -> None:
    made = await rig.desk.create(NewChannel(name="hook", url=receiver.url))
    stored = await asyncio.to_thread(everything, tmp_path)
    assert made["secret"].encode() not in stored
    assert made["secret"].removeprefix("whsec_").encode() not in stored


async def test_what_waits_is_counted_by_whether_it_is_due(rig: Rig) -> None:
    assert await rig.store.waiting(rig.clock.now()) == (0, 0)
    await rig.hear("a1", "a2")
    assert await rig.store.waiting(rig.clock.now()) == (2, 0)
    assert await rig.store.waiting(rig.clock.now() - 1) == (0, 2)
    await rig.send_until(settled(2))
    assert await rig.store.waiting(rig.clock.now()) == (0, 0)


async def test_a_delivery_stays_in_the_trace_and_correlation_of_its_alert(rig: Rig) -> None:
    alert = batch(example()).envelopes[0]
    here = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    long = "x" * 500  # whatever another program has put there
    for name, correlation in (("a1", "yard-1-25"), ("a2", long)):
        event = msgspec.structs.replace(example(), alert=name)
        told = msgspec.structs.replace(
            alert, event=event, traceparent=here, correlation=correlation
        )
        await rig.handler(Batch(partition=Partition("alerts", 0), envelopes=(told,), next_offset=1))
    rows = {row.alert.alert: row for row in await rig.store.history(before=None, limit=10)}
    assert (rows["a1"].traceparent, rows["a1"].correlation) == (here, "yard-1-25")
    assert rows["a2"].correlation == "x" * 128
