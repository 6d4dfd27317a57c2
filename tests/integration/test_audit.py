"""Whoever changes something through any service stands in the audit trail, under their own id."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from schemas import topics
from services import main
from shared.clock import SystemClock
from shared.platform import ServicePlatform
from shared.runtime import application
from shared.security.guard import CSRF_COOKIE, CSRF_HEADER
from shared.service import Running
from shared.settings import Configuration, PlatformSettings
from tests.unit.orchestrator.happenings import FIFTH, enters, frame, opened
from tests.unit.platform import toys

if TYPE_CHECKING:
    from schemas.event import Event

PASSWORD = "correct horse"
ZONE = {"name": "door", "points": [[0.2, 0.2], [0.8, 0.2], [0.8, 1.0], [0.2, 1.0]]}


class House:
    """Four services that act for people, an administrator's browser, and who says the detections."""

    def __init__(self, browser: httpx.AsyncClient, world: ServicePlatform) -> None:
        self.browser = browser
        self.world = world

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        headers = {CSRF_HEADER: self.browser.cookies[CSRF_COOKIE]}
        answer = await self.browser.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def entries(self, count: int, **query: Any) -> list[tuple[str, str, str]]:
        """What was done and why, oldest first, once there are so many."""
        items: list[dict[str, str]] = []
        for _ in range(1_500):
            found = await self.browser.get("/api/v1/audit", params=query)
            items = found.json()["items"]
            if len(items) >= count:
                break
            await asyncio.sleep(0.02)
        return [(one["action"], one["object"], one["reason"]) for one in reversed(items)]

    async def incident(self) -> str:
        """The first one."""
        for _ in range(1_500):
            items = (await self.ask("GET", "/incidents"))["items"]
            if items:
                return str(items[0]["incident"])
            await asyncio.sleep(0.02)
        raise AssertionError("no incident")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    seen: list[ServicePlatform] = []
    world = toys.service(Running(), name="world", seen=seen, produces=(topics.DETECTIONS,))
    services = [main.load(name) for name in ("gateway", "vms", "orchestrator", "notifier")]
    toys.write_key(tmp_path / "keys")
    settings = PlatformSettings(
        data_dir=tmp_path,
        bus_url="memory://",
        admin_password=PASSWORD,
        webhook_nets=("10.0.0.0/8",),
    )
    app = application([*services, world], settings, configuration=Configuration())
    async with toys.lifespan(app), toys.caller(app) as browser:
        signed = await browser.post(
            "/api/v1/sessions", json={"name": "admin", "password": PASSWORD}
        )
        assert signed.status_code == 201
        yield House(browser, seen[0])


async def test_every_change_by_a_person_is_said_by_the_service_that_made_it(house: House) -> None:
    me = (await house.ask("GET", "/me"))["id"]
    camera = {"name": "Yard", "url": "rtsp://10.1.2.3/main", "zones": [ZONE]}
    made = await house.ask("POST", "/cameras", camera, 201)
    await house.ask("PATCH", "/cameras/yard", {"enabled": False})
    await house.ask("PATCH", "/cameras/yard", {"enabled": False})
    await house.ask("PATCH", "/site", {"name": "Farm"})
    await house.ask("POST", "/rules", {"document": enters()}, 201)
    await house.ask("PUT", "/rules/enters", {"document": enters(title="Somebody")})
    hook = {"name": "ops", "url": "http://10.9.8.7/hook"}
    channel = (await house.ask("POST", "/channels", hook, 201))["id"]
    await house.ask("PATCH", f"/channels/{channel}", {"rotate": True})
    await house.ask("DELETE", f"/channels/{channel}", status=204)
    await house.ask("DELETE", "/rules/enters", status=204)
    await house.ask("DELETE", "/cameras/yard", status=204)
    await house.ask("DELETE", "/cameras/yard", status=404)
    assert made["id"] == "yard"
    found = await house.entries(11, actor=me)
    told = {(action, what) for action, what, _ in found}
    assert told >= {
        ("session.begun", f"user:{me}"),
        ("camera.added", "camera:yard"),
        ("camera.changed", "camera:yard"),
        ("camera.removed", "camera:yard"),
        ("site.changed", f"site:{made['site']}"),
        ("rule.added", "rule:enters"),
        ("rule.changed", "rule:enters"),
        ("rule.removed", "rule:enters"),
        ("channel.added", f"channel:{channel}"),
        ("channel.changed", f"channel:{channel}"),
        ("channel.removed", f"channel:{channel}"),
    }
    assert len(found) == 11
    assert ("channel.changed", f"channel:{channel}", "secret") in found
    answer = await house.browser.get("/api/v1/audit", params={"format": "json"})
    assert not any(word in answer.text for word in ("10.1.2.3", "10.9.8.7", "whsec", PASSWORD))
    assert (await house.ask("GET", "/audit/verification"))["ok"]


async def test_a_transition_by_a_person_is_said_and_one_by_the_system_is_not(house: House) -> None:
    camera = {"name": "Yard", "url": "rtsp://10.1.2.3/main", "zones": [ZONE]}
    await house.ask("POST", "/cameras", camera, 201)
    await house.ask("POST", "/rules", {"document": enters()}, 201)
    start = SystemClock().now() + 5_000_000
    events: list[Event] = [opened(at=start)]
    events += [frame(n, n * 1.5, captured_at=start + n * FIFTH) for n in range(1, 40)]
    publisher = house.world.publisher
    await publisher.publish([publisher.mint(one, topic=topics.DETECTIONS) for one in events])
    incident = await house.incident()
    path, key = f"/api/v1/incidents/{incident}/transitions", {"Idempotency-Key": "k1"}
    headers = {CSRF_HEADER: house.browser.cookies[CSRF_COOKIE], **key}
    for _ in range(2):
        answer = await house.browser.post(path, json={"target": "ACKED"}, headers=headers)
        assert answer.status_code == 201, answer.text
    body = {"target": "RESOLVED", "outcome": "fp"}
    await house.ask("POST", f"/incidents/{incident}/transitions", body, 201)
    assert await house.entries(2, object=f"incident:{incident}") == [
        ("incident.moved", f"incident:{incident}", "ACKED"),
        ("incident.moved", f"incident:{incident}", "RESOLVED fp"),
    ]
