"""Every route of `/openapi.json` with senseless input, as the machine's owner: refused or taken, never a 500.

Bodies are made from the schemas, with some fields replaced by what breaks programs. The runs are the same each time.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.server import Server

CALLS = 300
HUGE = "@huge@"  # stands for 1e309, which json would write otherwise
LONGEST = 50_000

TEXTS = [
    "",
    " ",
    "\x00",
    "\ud800",
    "\ufeffx",
    "a\u202eb",
    "a\u200bb",
    "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all"),
    "a\r\nb: c",
    "{{7*7}}",
    "${jndi:x}",
    "' OR 1=1--",
    "<img src=x onerror=1>",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "..%2f..%2f",
    "::////",
    "/etc/passwd",
    "CON",
    "é" * 300,
    "n" * LONGEST,
    "sim://demo",
    "sim://nonsense?fps=1e309",
    "rtsp://[::1/x",
    "rtsp://10.0.0.1:99999/",
    "file:///%00",
    "http://169.254.169.254/",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01",
    "-1",
    "1e309",
    "NaN",
    "9" * 400,
    "00000000-0000-0000-0000-000000000000",
    "yard",
    "webhook",
    "console",
]
NUMBERS = [0, -1, -0.0, 1, 0.5, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, float("nan"), HUGE]
NUMBERS += [float("inf"), float("-inf"), 5e-324]

texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=[]), max_size=8)
leaves = st.none() | st.booleans() | st.sampled_from(NUMBERS) | texts
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
deep = st.sampled_from([b"[" * 10_000, b'{"a":' * 10_000, b"\xff\xfe", b"", b"null", b'{"a":1}{}'])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with a camera and a rule for it."""
    server = Server(tmp_path_factory.mktemp("fuzz") / "data")
    server.start()
    zone = {"name": "gate", "points": [[0, 0], [1, 0], [1, 1]]}
    server.call(
        "POST",
        "/api/v1/cameras",
        {"name": "yard", "url": "sim://demo", "enabled": False, "zones": [zone]},
    )
    server.call("POST", "/api/v1/rules", {"document": rule()})
    yield server
    server.kill()


def rule() -> dict[str, Any]:
    """A rule that is right."""
    return {
        "id": "yard",
        "title": "Somebody enters",
        "level": "medium",
        "scope": {"cameras": ["yard"]},
        "match": {"enter": {"class": ["person"], "zone": "gate"}},
        "group_by": ["track"],
        "cooldown": "1m",
    }


def test_no_route_breaks(server: Server) -> None:
    transport = httpx.HTTPTransport(uds=str(server.folder / "run" / "api.sock"))
    with httpx.Client(transport=transport, base_url="http://vantage", timeout=60) as client:
        api = client.get("/openapi.json").json()
        broken: list[str] = []
        answered: set[int] = set()

        @settings(
            max_examples=CALLS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(requests(api))
        def call(request: httpx.Request) -> None:
            answer = client.send(request)
            answered.add(answer.status_code)
            if not _well_put(answer):
                broken.append(_told(request, answer))

        call()

    assert broken == []
    assert {200, 404, 422} <= answered
    assert "Traceback" not in server.text()


def _well_put(answer: httpx.Response) -> bool:
    """Taken, or refused as a problem; OAuth has error bodies of its own."""
    if answer.status_code >= 500:  # there is no name service in the tests
        return answer.status_code == 503 and "cannot be looked up" in answer.text
    kind = answer.headers.get("content-type", "")
    oauth = answer.request.url.path == "/oauth2/token" and "error" in answer.text
    return answer.status_code < 400 or kind == "application/problem+json" or oauth


def _told(request: httpx.Request, answer: httpx.Response) -> str:
    body = request.content[:300]
    return f"{request.method} {request.url} {body!r} -> {answer.status_code} {answer.text[:300]}"


def requests(api: dict[str, Any]) -> st.SearchStrategy[httpx.Request]:
    """Requests to any operation of the document."""
    operations = [
        _request(api, method.upper(), path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    return st.one_of(operations)


@st.composite
def _request(draw: st.DrawFn, api: Any, method: str, path: str, operation: Any) -> httpx.Request:
    place = re.sub(r"{\w+}", lambda _: quote(_encodable(draw(texts)), safe="") or "%20", path)
    query = {
        parameter["name"]: _encodable(draw(texts))[:2000]
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and draw(st.booleans())
    }
    content, headers = b"", {}
    taken = operation.get("requestBody", {}).get("content", {})
    if "application/json" in taken:
        content = draw(_bodies(api, taken["application/json"]["schema"]))
        headers = {"content-type": "application/json"}
    elif method == "POST":
        form = {name: _encodable(draw(texts)) for name in ("grant_type", "client_id", "scope")}
        content = "&".join(f"{name}={quote(value)}" for name, value in form.items()).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
    url = httpx.URL("http://vantage" + place[:4000], params=query)
    return httpx.Request(method, url, content=content, headers=headers)


def _bodies(api: Any, schema: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(_like(api, schema).map(_written), _like(api, schema).map(_written), deep)


def _written(value: object) -> bytes:
    return json.dumps(value).replace(f'"{HUGE}"', "1e309").encode()


def _like(api: Any, schema: Any) -> st.SearchStrategy[Any]:
    """A value that more or less follows a schema."""
    while "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return st.one_of(*(_like(api, one) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | leaves
    fields = schema.get("properties")
    if fields is not None:
        needed = set(schema.get("required", []))
        given = {name: _like(api, fields[name]) for name in fields}
        return st.fixed_dictionaries(
            {name: given[name] for name in needed},
            optional={name: given[name] for name in fields if name not in needed},
        ) | st.dictionaries(texts, anything, max_size=2)
    if schema.get("type") == "array":
        inner = _like(api, schema.get("items", {}))
        return st.lists(inner, max_size=4) | leaves
    return _leaf(schema)


def _leaf(schema: Any) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "string":
        return texts | st.text(min_size=1, max_size=20) | leaves
    if kind in ("number", "integer"):
        return st.floats(0, 1) | st.integers(0, 5) | leaves
    if kind == "boolean":
        return st.booleans() | leaves
    return _bent_rules() | anything


@st.composite
def _bent_rules(draw: st.DrawFn) -> dict[str, Any]:
    """The right rule with one place of it replaced."""
    document: Any = rule()
    place, key = draw(
        st.sampled_from([(document, name) for name in document])
        | st.sampled_from([(document["match"], "enter"), (document["scope"], "cameras")])
        | st.sampled_from([(document["match"]["enter"], name) for name in ("class", "zone")])
        | texts.map(lambda name: (document, name))
    )
    place[key] = draw(anything)
    return dict(document)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
