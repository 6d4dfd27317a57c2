"""The sign-in page in a real browser: the printed link works once, a password is chosen, and one signs out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.engines import processes
from tests.integration.test_runtime_process import LINK, Server, start

pytestmark = pytest.mark.browser
PASSWORD = "correct horse"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    arguments = ("run", "gateway", "dashboard", "--port", "0")
    found = await asyncio.to_thread(start, tmp_path / "data", *arguments)
    yield found
    await asyncio.to_thread(processes.end, found.process)


async def fresh(browser: Browser, complaints: list[str]) -> Page:
    """A page of a browser that knows nothing; what it complains about is collected."""
    page = await (await browser.new_context()).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda line: complaints.append(line.text) if "Content Security" in line.text else None,
    )
    return page


async def test_from_the_printed_link_to_the_sign_out(server: Server, browser: Browser) -> None:
    complaints: list[str] = []
    found = LINK.search(server.said)
    assert found
    page = await fresh(browser, complaints)
    await page.goto(found[0])
    await page.get_by_label("New password").fill(PASSWORD)
    assert "#" not in page.url
    await page.get_by_role("button", name="Save and go on").click()
    await page.wait_for_url(f"{server.url}/")
    await page.evaluate("window.vantage.renew()")
    assert await page.evaluate("fetch('/api/v1/me').then((answer) => answer.status)") == 200
    await page.evaluate("window.vantage.signOut()")
    await page.wait_for_url("**/login")
    assert await page.evaluate("fetch('/api/v1/me').then((answer) => answer.status)") == 401

    other = await fresh(browser, complaints)
    await other.goto(found[0])
    await expect(other.get_by_role("status")).to_contain_text("unknown, used or expired")
    await other.get_by_label("Name").fill("admin")
    await other.get_by_label("Password", exact=True).fill("wrong pass")
    await other.get_by_role("button", name="Sign in").click()
    await expect(other.get_by_role("status")).to_contain_text("wrong")
    await other.get_by_label("Password", exact=True).fill(PASSWORD)
    await other.get_by_role("button", name="Sign in").click()
    await other.wait_for_url(f"{server.url}/")
    assert complaints == []


async def test_a_page_is_shown_after_signing_in_and_no_other_site(
    server: Server, browser: Browser
) -> None:
    found = LINK.search(server.said)
    assert found
    page = await fresh(browser, [])
    await page.goto(found[0])
    await page.get_by_role("button", name="Later").click()
    await page.wait_for_url(f"{server.url}/")
    for following in ("//evil.test/", "https://evil.test/", "/\\evil.test", "/login?next=/x"):
        await page.goto(f"{server.url}/login?next={following}")
        await page.wait_for_url(f"{server.url}/")
    await page.goto(f"{server.url}/login?next=/openapi.json")
    await page.wait_for_url(f"{server.url}/openapi.json")
