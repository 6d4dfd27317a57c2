"""Browsers sign in, stay signed in by rotating tokens, and are out at once when they sign out."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from schemas.topics import AUDIT
from services.gateway.service import SERVICE
from shared.clock import ManualClock
from shared.errors import Setup
from shared.security.guard import ACCESS_COOKIE, REFRESH_COOKIE
from tests.unit.gateway.conftest import NOW, PASSWORD, Door, csrf, gateway
from tests.unit.platform import toys

REFRESH = "/api/v1/sessions/refresh"


async def refreshed(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    """Refresh with a token of one's own choice."""
    return await browser.post(
        REFRESH, headers={**csrf(browser), "cookie": cookie_line(browser, token)}
    )


def cookie_line(browser: httpx.AsyncClient, token: str) -> str:
    return f"{REFRESH_COOKIE}={token}; vantage_csrf={browser.cookies['vantage_csrf']}"


async def test_a_browser_signs_in_and_may_do_what_its_role_may(door: Door) -> None:
    async with door.browser() as browser:
        answer = await door.signed_in(browser)
        assert (answer.status_code, answer.json()["role"]) == (201, "admin")
        me = (await browser.get("/api/v1/me")).json()
        written = await browser.post("/toy/write", json={"name": "x"}, headers=csrf(browser))
    assert me["name"] == "admin"
    assert "users:write" in me["scopes"]
    assert written.status_code == 201


async def test_cookies_are_for_our_own_pages_alone(door: Door) -> None:
    async with door.browser() as browser:
        lines = (await door.signed_in(browser)).headers.get_list("set-cookie")
    by_name = {line.partition("=")[0]: line.lower() for line in lines}
    assert set(by_name) == {"vantage_access", "vantage_refresh", "vantage_csrf"}
    assert all("samesite=strict" in line for line in by_name.values())
    assert "httponly" in by_name["vantage_access"]
    assert "httponly" in by_name["vantage_refresh"]
    assert "path=/api/v1/sessions" in by_name["vantage_refresh"]
    assert "httponly" not in by_name["vantage_csrf"]
    assert not any("secure" in line for line in by_name.values())


async def test_under_tls_cookies_are_secure(tmp_path: Path) -> None:
    app = gateway(
        tmp_path,
        ManualClock(NOW),
        admin_password=PASSWORD,
        public_url="https://vantage.example",
    )
    async with toys.lifespan(app), toys.caller(app) as browser:
        body = {"name": "admin", "password": PASSWORD}
        answer = await browser.post("/api/v1/sessions", json=body)
    assert all("secure" in line.lower() for line in answer.headers.get_list("set-cookie"))


async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(door: Door) -> None:
    async with door.browser() as browser:
        answers = [
            await browser.post("/api/v1/sessions", json={"name": name, "password": "wrong pass"})
            for name in ("admin", "nobody")
        ]
    problems = [{**answer.json(), "request_id": ""} for answer in answers]
    assert answers[0].status_code == answers[1].status_code == 401
    assert problems[0] == problems[1]


async def test_the_sixth_attempt_on_an_account_waits_a_minute(door: Door) -> None:
    wrong = {"name": "admin", "password": "wrong pass"}
    async with door.browser() as browser:
        statuses = [
            (await browser.post("/api/v1/sessions", json=wrong)).status_code for _ in range(5)
        ]
        slowed = await door.signed_in(browser)
        door.clock.advance(61)
        later = await door.signed_in(browser)
    assert statuses == [401] * 5
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "60")
    assert later.status_code == 201


async def test_parallel_guesses_are_counted_before_they_are_made(door: Door) -> None:
    wrong = {"name": "admin", "password": "wrong pass"}
    async with door.browser() as browser:
        answers = await asyncio.gather(
            *(browser.post("/api/v1/sessions", json=wrong) for _ in range(12))
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [401] * 5 + [429] * 7


async def test_a_good_sign_in_clears_the_count(door: Door) -> None:
    wrong = {"name": "admin", "password": "wrong pass"}
    async with door.browser() as browser:
        for _ in range(3):
            for _ in range(3):
                assert (await browser.post("/api/v1/sessions", json=wrong)).status_code == 401
            assert (await door.signed_in(browser)).status_code == 201


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "admin"}, {"name": "a", "password": "b", "secret": "c"}, {"role": "admin"}, []],
)
async def test_a_malformed_sign_in_is_refused(door: Door, body: object) -> None:
    async with door.browser() as browser:
        assert (await browser.post("/api/v1/sessions", json=body)).status_code == 422


async def test_another_sites_page_cannot_sign_a_browser_in(door: Door) -> None:
    body = {"name": "admin", "password": PASSWORD}
    async with door.browser(headers={"origin": "http://evil.test"}) as browser:
        assert (await browser.post("/api/v1/sessions", json=body)).status_code == 403


async def test_refresh_rotates_and_keeps_the_session(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        first = browser.cookies[REFRESH_COOKIE]
        door.clock.advance(540)
        assert (await browser.post(REFRESH, headers=csrf(browser))).status_code == 200
        assert browser.cookies[REFRESH_COOKIE] != first
        door.clock.advance(540)
        assert (await browser.get("/api/v1/me")).status_code == 200
        door.clock.advance(61)
        assert (await browser.get("/api/v1/me")).status_code == 401


async def test_a_lost_answer_may_be_asked_for_again(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        first = browser.cookies[REFRESH_COOKIE]
        one, other = [await refreshed(browser, first) for _ in range(2)]
    assert one.status_code == other.status_code == 200
    assert one.cookies[REFRESH_COOKIE] == other.cookies[REFRESH_COOKIE]


async def test_a_token_used_twice_ends_the_whole_session(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        first = browser.cookies[REFRESH_COOKIE]
        second = (await refreshed(browser, first)).cookies[REFRESH_COOKIE]
        door.clock.advance(11)
        assert (await refreshed(browser, first)).status_code == 401
        assert (await refreshed(browser, second)).status_code == 401
        assert (await browser.get("/api/v1/me")).status_code == 401


@pytest.mark.parametrize("change", ["garbage", "proof", "generation", "session"])
async def test_a_forged_refresh_token_is_refused(door: Door, change: str) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        session, generation, proof = browser.cookies[REFRESH_COOKIE].split(".")
        forged = {
            "garbage": "garbage",
            "proof": f"{session}.{generation}.{proof[::-1]}",
            "generation": f"{session}.1.{proof}",
            "session": f"{'0' * 32}.{generation}.{proof}",
        }
        assert (await refreshed(browser, forged[change])).status_code == 401
        assert (await browser.get("/api/v1/me")).status_code == 200


async def test_a_refresh_token_is_no_access_token(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        token = browser.cookies[REFRESH_COOKIE]
    async with door.browser(headers={"authorization": f"Bearer {token}"}) as program:
        assert (await program.get("/api/v1/me")).status_code == 401


async def test_refresh_needs_the_sessions_own_csrf_value(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        assert (await browser.post(REFRESH)).status_code == 403
        assert (await browser.post(REFRESH, headers=csrf(browser))).status_code == 200


async def test_a_session_ends_after_its_days(door: Door) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        statuses = []
        for _ in range(6):
            door.clock.advance(6 * 24 * 3600)
            answer = await browser.post(REFRESH, headers=csrf(browser))
            statuses.append(answer.status_code)
    assert statuses == [200, 200, 200, 200, 401, 401]


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/api/v1/sessions/current"), ("POST", "/logout")]
)
async def test_signing_out_counts_at_once(door: Door, method: str, path: str) -> None:
    async with door.browser() as browser:
        await door.signed_in(browser)
        stolen = browser.cookies[ACCESS_COOKIE]
        refresh = browser.cookies[REFRESH_COOKIE]
        headers = csrf(browser)
        left = await browser.request(method, path, headers=headers)
        assert left.status_code in (204, 303)
        assert ACCESS_COOKIE not in browser.cookies
    async with door.browser(headers={"authorization": f"Bearer {stolen}"}) as thief:
        assert (await thief.get("/api/v1/me")).status_code == 401
    async with door.browser() as thief:
        line = f"{REFRESH_COOKIE}={refresh}; vantage_csrf={headers['X-CSRF-Token']}"
        again = await thief.post(REFRESH, headers={**headers, "cookie": line})
        assert again.status_code == 401


async def test_a_signed_out_session_stays_out_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(app), toys.caller(app) as browser:
        await browser.post("/api/v1/sessions", json={"name": "admin", "password": PASSWORD})
        stolen = browser.cookies[ACCESS_COOKIE]
        await browser.delete("/api/v1/sessions/current", headers=csrf(browser))
    again = gateway(tmp_path, clock, admin_password=PASSWORD)
    headers = {"authorization": f"Bearer {stolen}"}
    async with toys.lifespan(again), toys.caller(again, headers=headers) as thief:
        assert (await thief.get("/api/v1/me")).status_code == 401


async def test_the_first_admin_signs_in_once_by_the_printed_link(tmp_path: Path) -> None:
    app = gateway(tmp_path, ManualClock(NOW))
    async with toys.lifespan(app), toys.caller(app) as browser:
        (notice,) = app.state.notices
        secret = notice.partition("/login#")[2]
        assert len(secret) >= 43
        first = await browser.post("/api/v1/sessions", json={"secret": secret})
        assert (first.status_code, first.json()["has_password"]) == (201, False)
        assert (await browser.get("/api/v1/me")).json()["role"] == "admin"
        second = await browser.post("/api/v1/sessions", json={"secret": secret})
        assert second.status_code == 401
        stored = b"".join(path.read_bytes() for path in (tmp_path / "db").iterdir())
        assert secret.encode() not in stored


async def test_a_sign_in_link_ends_after_15_minutes(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock)
    async with toys.lifespan(app), toys.caller(app) as browser:
        secret = app.state.notices[0].partition("/login#")[2]
        clock.advance(900)
        answer = await browser.post("/api/v1/sessions", json={"secret": secret})
    assert answer.status_code == 401


async def test_after_a_password_is_set_no_link_is_printed_any_more(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock)
    async with toys.lifespan(app), toys.caller(app) as browser:
        secret = app.state.notices[0].partition("/login#")[2]
        await browser.post("/api/v1/sessions", json={"secret": secret})
        new = {"new": PASSWORD}
        saved = await browser.put("/api/v1/me/password", json=new, headers=csrf(browser))
        assert saved.status_code == 204
        assert (await browser.get("/api/v1/me")).json()["has_password"] is True
    again = gateway(tmp_path, clock)
    async with toys.lifespan(again), toys.caller(again) as browser:
        assert again.state.notices == []
        body = {"name": "Admin", "password": PASSWORD}
        assert (await browser.post("/api/v1/sessions", json=body)).status_code == 201


async def test_a_changed_admin_password_takes_over_and_ends_the_old_sessions(
    tmp_path: Path,
) -> None:
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)
    async with toys.lifespan(app), toys.caller(app) as browser:
        await browser.post("/api/v1/sessions", json={"name": "admin", "password": PASSWORD})
        stolen = browser.cookies[ACCESS_COOKIE]
    again = gateway(tmp_path, clock, admin_password="another horse")
    headers = {"authorization": f"Bearer {stolen}"}
    async with toys.lifespan(again), toys.caller(again) as browser:
        assert (await browser.get("/api/v1/me", headers=headers)).status_code == 401
        for password, status in (("another horse", 201), (PASSWORD, 401)):
            body = {"name": "admin", "password": password}
            assert (await browser.post("/api/v1/sessions", json=body)).status_code == status


async def test_a_short_admin_password_names_the_setting(tmp_path: Path) -> None:
    app = gateway(tmp_path, ManualClock(NOW), admin_password="short")
    with pytest.raises(Setup, match="VANTAGE_ADMIN_PASSWORD"):
        async with toys.lifespan(app):
            pass


async def test_the_sign_in_page_runs_no_inline_script(door: Door) -> None:
    async with door.browser() as browser:
        page = await browser.get("/login")
        script = await browser.get("/static/login.js")
        missing = await browser.get("/static/..%2fservice.py")
    assert page.status_code == script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert not re.search(r"\son\w+=", page.text)
    assert missing.status_code == 404


def test_the_gateway_hears_and_says_the_audit_trail_alone() -> None:
    assert SERVICE.consumes == SERVICE.produces == (AUDIT,)


async def test_sessions_that_may_still_be_used_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.service.COUNT_S", 0.02)
    clock = ManualClock(NOW)
    app = gateway(tmp_path, clock, admin_password=PASSWORD)

    async def until(count: int) -> None:
        for _ in range(2000):
            if app.metrics.registry.get_sample_value("vantage_active_sessions") == count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"not {count} sessions within 20 s")

    async with toys.lifespan(app), toys.caller(app) as browser:
        body = {"name": "admin", "password": PASSWORD}
        for _ in range(2):
            await browser.post("/api/v1/sessions", json=body)
        await until(2)
        await browser.delete("/api/v1/sessions/current", headers=csrf(browser))
        await until(1)
        clock.advance(8 * 24 * 3600)
        await until(0)
