"""The operator's page in a real browser, on a real server: sign in, watch, see an alert come, act on it, sign out."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser, Page, expect

from shared.sim.scene import Scene
from tests.e2e.server import Server, eventually

SCENE = Scene(seed=7, duration_s=60)
URL = "sim://demo?seed=7&fps=5&size=640x360&duration=60&loop=1"

pytestmark = pytest.mark.browser


def add_yard(server: Server) -> None:
    camera = server.call(
        "POST",
        "/api/v1/cameras",
        {
            "name": "Yard <b>1</b>",  # rendered as text, never as markup
            "url": URL,
            "zones": [msgspec.to_builtins(zone) for zone in SCENE.zones],
            "lines": [msgspec.to_builtins(line) for line in SCENE.lines],
            "detect": {"backend": "scripted"},
        },
    )
    for rule in SCENE.rules(camera["id"]):
        server.call("POST", "/api/v1/rules", {"document": rule})


async def signed_in(browser: Browser, server: Server, **options: object) -> Page:
    page = await browser.new_page(**options)  # type: ignore[arg-type]
    await page.goto(server.sign_in_link)
    await page.get_by_role("button", name="Later").click()
    await page.wait_for_url(f"{server.url}/")
    return page


def kept(server: Server, incident: str | None) -> tuple[str, str]:
    """What the history has of an incident; it hears of it beside the page."""
    row = server.call("GET", f"/api/v1/incidents/{incident}")
    return row["state"], row["outcome"]


async def test_an_operator_watches_and_acts(browser: Browser, server: Server) -> None:
    page = await signed_in(browser, server, viewport={"width": 1280, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await expect(page.locator("#empty")).to_be_visible()
    await asyncio.to_thread(add_yard, server)
    tile = page.locator(".tile")
    await expect(tile.locator(".name")).to_have_text("Yard <b>1</b>", timeout=20_000)
    await expect(tile.locator(".dot")).to_have_attribute("data-state", "online", timeout=20_000)
    await expect(tile.locator(".badge")).to_be_visible(timeout=30_000)
    assert await tile.locator("canvas").evaluate(painted)
    card = page.locator(".card").first
    await expect(card).to_be_visible(timeout=60_000)
    await expect(card.locator(".rule")).to_contain_text("yard-b-1-b")
    await expect(card.locator(".shot img")).to_be_visible(timeout=20_000)
    await expect(card.locator(".sent")).to_contain_text("on the console", timeout=20_000)
    await card.get_by_role("button", name="Acknowledge").click()
    await expect(card.locator(".incident")).to_have_text("acked", timeout=10_000)
    await card.locator(".shot").click()
    await expect(page.locator("dialog#viewer")).to_be_visible()
    await page.get_by_role("button", name="Close").click()
    await card.get_by_role("button", name="False alarm").click()
    await expect(card.locator(".incident")).to_have_text("resolved (false alarm)", timeout=10_000)
    incident = await card.get_attribute("data-incident")
    await asyncio.to_thread(eventually, lambda: kept(server, incident) == ("RESOLVED", "fp"))
    assert errors == []
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{server.url}/login*")
    await page.goto(server.url)
    assert "/login" in page.url


async def test_a_snapshot_that_is_gone_is_said_to_be_missing_and_not_asked_for_again(
    browser: Browser, tmp_path: Path
) -> None:
    with Server(tmp_path / "data", {"VANTAGE_VMS_SNAPSHOT_WAIT_S": "1"}) as server:
        await asyncio.to_thread(add_yard, server)
        incident, path = await asyncio.to_thread(eventually, lambda: pictured(server))
        for file in (server.folder / "blobs").rglob("*.jpg"):
            file.unlink()
        await asyncio.to_thread(eventually, lambda: "missing" in server.ask("GET", path).text)
        page = await browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(server.sign_in_link)
        await page.get_by_role("button", name="Later").click()
        card = page.locator(f".card[data-incident='{incident}']")
        await expect(card.locator(".shot span")).to_have_text("snapshot missing", timeout=10_000)
        await asyncio.sleep(1.5)  # the first two repeats would have come
        assert asked.count(f"{server.url}{path}") == 1


def pictured(server: Server) -> tuple[str, str] | None:
    """An incident whose snapshot is there, and where."""
    for alert in server.every("/api/v1/alerts"):
        path = f"/api/v1/incidents/{alert['incident']}/snapshot"
        if server.ask("GET", path).is_success:
            return alert["incident"], path
    return None


async def test_it_fits_a_phone(browser: Browser, server: Server) -> None:
    await asyncio.to_thread(add_yard, server)
    page = await signed_in(browser, server, viewport={"width": 390, "height": 844})
    await expect(page.locator(".tile .dot")).to_have_attribute(
        "data-state", "online", timeout=20_000
    )
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    await expect(page.locator("#link")).to_have_text("live")


async def test_without_a_session_there_is_no_page_and_no_live_view(
    browser: Browser, server: Server
) -> None:
    page = await browser.new_page()
    await page.goto(server.url)
    assert "/login" in page.url
    refused = await page.evaluate(
        """() => new Promise((done) => {
            const socket = new WebSocket(`ws://${location.host}/api/v1/live`);
            socket.onopen = () => done("open");
            socket.onerror = () => done("refused");
        })"""
    )
    assert refused == "refused"


painted = """(canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const shades = new Set();
    for (let at = 0; at < pixels.length; at += 4 * 97) shades.add(pixels[at] >> 3);
    return canvas.width === 640 && shades.size > 8;
}"""
