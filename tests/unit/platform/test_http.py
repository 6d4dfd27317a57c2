"""Every answer: problem+json for every error, the security headers on all of them, limits before work."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.traces.port import Span
from tests.unit.platform.toys import app_of, caller, lifespan


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = app_of(tmp_path, body_limit=1000)
    async with lifespan(app), caller(app, owner=True) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/toy/errors/invalid", 422, "invalid"),
        ("/toy/errors/missing", 404, "not_found"),
        ("/toy/errors/conflict", 409, "conflict"),
        ("/toy/errors/forbidden", 403, "forbidden"),
        ("/toy/errors/unavailable", 503, "unavailable"),
        ("/toy/errors/too-many", 429, "too_many"),
        ("/toy/errors/unforeseen", 500, "internal"),
        ("/toy/numbers/x", 422, "invalid"),
        ("/nowhere", 404, "not_found"),
    ],
)
async def test_errors_are_problems(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    answer = await client.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "canary" not in answer.text


async def test_a_wrong_field_is_named_with_its_value(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/toy/numbers/x")).json()
    assert problem["errors"][0]["field"] == "number"
    assert "'x'" in problem["detail"]


async def test_a_wrong_password_field_is_not_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/toy/write", json={"name": "x", "password": ["canary"]})
    assert answer.status_code == 422
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("method", "status"), [("DELETE", 405), ("PATCH", 405), ("TRACE", 405), ("NONSENSE", 405)]
)
async def test_other_methods_are_problems_too(
    client: httpx.AsyncClient, method: str, status: int
) -> None:
    answer = await client.request(method, "/toy/read")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_unknown_fields_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/toy/write", json={"name": "x", "role": "admin"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "role"


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/toy/write", json={"name": "x" * 2000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_whose_length_is_not_told_is_cut_off_too(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100

    answer = await client.post(
        "/toy/write", content=chunks(), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_what_another_sites_form_can_send_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/toy/write", content='{"name": "x"}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/toy", "/nowhere", "/toy/errors/unforeseen", "/health"])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_waiting_times_are_told(client: httpx.AsyncClient) -> None:
    assert (await client.get("/toy/errors/unavailable")).headers["retry-after"] == "7"
    slowed = (await client.get("/toy/errors/too-many")).headers
    assert (slowed["retry-after"], slowed["ratelimit"]) == ("60", '"default";r=0;t=60')


async def test_a_callers_request_id_is_kept_and_a_bad_one_is_not(client: httpx.AsyncClient) -> None:
    kept = await client.get("/toy", headers={"x-request-id": "order-7"})
    assert kept.headers["x-request-id"] == "order-7"
    bad = await client.get("/toy", headers={"x-request-id": "bad id <script>"})
    assert bad.headers["x-request-id"] != "bad id <script>"


async def test_a_browser_without_a_session_is_led_to_the_sign_in_page(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    async with lifespan(app), caller(app) as browser:
        page = await browser.get("/toy/who", headers={"accept": "text/html"})
        data = await browser.get("/toy/who", headers={"accept": "application/json"})
        script = await browser.get(
            "/toy/who", headers={"accept": "text/html", "sec-fetch-mode": "cors"}
        )
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/toy/who")
    assert data.status_code == script.status_code == 401


async def test_answers_are_counted_by_route_and_not_by_path(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    async with lifespan(app), caller(app, owner=True) as client:
        for number in range(3):
            await client.get(f"/toy/numbers/{number}")
    said = app.metrics.exposition().decode()
    line = (
        'vantage_http_requests_total{method="GET",route="/toy/numbers/{number}",status="200"} 3.0'
    )
    assert line in said


class Told:
    """A sink of spans that keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, span: Span) -> None:
        self.spans.append(span)


async def test_a_request_becomes_a_span_under_its_callers(tmp_path: Path) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    app, told = app_of(tmp_path), Told()
    async with lifespan(app), caller(app, owner=True) as client:
        app.state.runtime.traces.sink = told
        await client.get("/toy/numbers/7?token=canary", headers={"traceparent": parent})
        await client.get("/toy/errors/unforeseen")
        await client.get("/health")
    fine, failed = told.spans
    assert (fine.service, fine.name, fine.kind) == ("toy", "GET /toy/numbers/{number}", "server")
    assert (fine.here[:35], fine.parent, fine.failed) == (parent[:35], parent, False)
    assert fine.attributes["http.response_status_code"] == 200
    assert "canary" not in repr(told.spans)
    assert (failed.failed, failed.parent) == (True, None)
