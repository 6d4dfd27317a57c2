"""What every HTTP answer has in common: problem+json from one table of errors, security headers, limits, trace."""

from __future__ import annotations

import http
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse

from shared import audit, errors, telemetry
from shared.security.redaction import is_secret_name, scrub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shared.metrics import Metrics
    from shared.traces.port import Spans

PROBLEM = "application/problem+json"
_TEXTS = ("text/plain",)  # what a form of another site can send; nothing of ours takes it

# The one table: what went wrong -> status. Subclasses count as their nearest class.
STATUS: dict[type[errors.VantageError], int] = {
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.Unauthenticated: 401,
    errors.Unavailable: 503,
    errors.TooMany: 429,
    errors.Transient: 503,
    errors.VantageError: 500,
}

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
        "worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


class Problem(JSONResponse):
    """An RFC 9457 problem. `code` is for programs, `detail` for people, `request_id` for the log."""

    media_type = PROBLEM

    def render(self, content: object) -> bytes:
        """JSON; half a character that came in is written as its escape."""
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        body = {
            "type": f"urn:vantage:{code}",
            "title": _title(status),
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": telemetry.correlation_id(),
            **more,
        }
        super().__init__(body, status_code=status, headers=dict(headers or {}))


class Application(FastAPI):
    """A FastAPI app whose every answer, that to an unforeseen error included, passes the boundary."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        body_limit: int,
        spans: Spans | None = None,
        **options: Any,  # noqa: ANN401 - FastAPI's own
    ) -> None:
        super().__init__(openapi_url=None, docs_url=None, redoc_url=None, **options)
        self.metrics = metrics
        self.body_limit = body_limit
        self.spans = spans
        self.add_exception_handler(errors.VantageError, _ours)
        self.add_exception_handler(RequestValidationError, _validation)
        self.add_exception_handler(HTTPException, _http)
        self.add_exception_handler(Exception, _unexpected)

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's layers inside ours."""
        layers = super().build_middleware_stack()
        return Boundary(layers, self.metrics, self.body_limit, self.spans)


async def _ours(request: Request, error: Exception) -> Response:
    if isinstance(error, errors.Unauthenticated) and _is_page(request):
        return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
    return problem_of(error)


def _is_page(request: Request) -> bool:
    """Whether a browser asks for a page, not a program or a script for data."""
    asked = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
    return request.method == "GET" and asked and "text/html" in request.headers.get("accept", "")


def problem_of(error: Exception) -> Problem:
    """The answer to an error of ours."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    code = getattr(error, "code", "error")
    headers: dict[str, str] = {}
    more: dict[str, object] = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if isinstance(error, errors.Forbidden):
        headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, errors.TooMany):
        headers["RateLimit"] = f'"default";r=0;t={retry_after}'
    if isinstance(error, errors.Invalid) and error.field:
        more["errors"] = [{"field": error.field, "detail": scrub(str(error))}]
    detail = scrub(str(error)) if status != http.HTTPStatus.INTERNAL_SERVER_ERROR else ""
    return Problem(status, code, detail, headers=headers, **more)


async def _validation(_request: Request, error: Exception) -> Response:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    listed = [_told(one) for one in found]
    first = f"{listed[0]['field']}: {listed[0]['detail']}" if listed else "the request is malformed"
    return Problem(422, "invalid", first, errors=listed)


async def _http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 429: "too_many"}
    return Problem(
        error.status_code,
        code.get(error.status_code, "http_error"),
        str(error.detail),
        headers=error.headers,
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    structlog.get_logger().error("http_failed", path=request.url.path, exc_info=error)
    return Problem(
        500, "internal", "something went wrong here; the log knows more by the request id"
    )


class Boundary:
    """Outermost layer: trace and request id, the log line, the metrics, the headers, refused content types."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, body_limit: int, spans: Spans | None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._body_limit = body_limit
        self._spans = spans
        self._log = structlog.get_logger().bind(component="http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        trace = telemetry.trace(headers.get("traceparent"), headers.get("x-request-id"))
        with trace, audit.request():
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._http(scope, receive, send, headers)

    async def _http(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]
    ) -> None:
        answer = _Answer(send)
        began = time.perf_counter()
        try:
            refusal = _refusal(scope["method"], headers, self._body_limit)
            served = refusal or self._app
            await served(scope, _limited(receive, self._body_limit), answer.send)
        finally:
            seconds = time.perf_counter() - began
            self._count(scope, answer.status, seconds)
            self._trace(scope, answer.status, seconds, headers.get("traceparent"))

    def _trace(self, scope: Scope, status: int, seconds: float, parent: str | None) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        if self._spans is None or route in _OWN:
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._spans.tell(
            f"{method} {route}", telemetry.traceparent(), parent,
            time.time_ns() // 1000 - round(seconds * 1_000_000),
            kind="server", failed=status >= 500, http_request_method=method, http_route=route,
            http_response_status_code=status,
        )  # fmt: skip

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.http_requests.labels(method, route, str(status)).inc()
        self._metrics.http_seconds.labels(method, route).observe(seconds)
        level = "warning" if status >= 500 else "debug"
        getattr(self._log, level)(
            "http_request",
            method=method,
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
        )


_OWN = frozenset({"/health", "/ready"})  # asked every few seconds; no trace needs them
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Answer:
    """Passes an answer on with the common headers and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Request-ID"] = telemetry.correlation_id() or ""
        await self._send(message)


def _refusal(method: str, headers: Mapping[str, str], body_limit: int) -> Problem | None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > body_limit:
        return Problem(413, "too_large", _too_large(body_limit))
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in ("GET", "HEAD", "OPTIONS") and kind in _TEXTS:
        return Problem(415, "unsupported_media_type", f"{kind} is not taken here; send JSON")
    return None


def _limited(receive: Receive, limit: int) -> Receive:
    """The body as it comes, up to the limit: its length need not have been told."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return counted


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes (VANTAGE_BODY_LIMIT)"


def client_address(connection: HTTPConnection) -> str:
    """The caller's address as the socket knows it; forwarded headers are not believed."""
    return connection.client.host if connection.client else "local"


def _told(one: Mapping[str, Any]) -> dict[str, str]:
    if one["type"] == "json_invalid":
        why = f"is no JSON: {one['ctx']['error']} at character {one['loc'][-1]}"
        return {"field": "body", "detail": why}
    return {"field": _field(one["loc"]), "detail": _detail(one)}


def _field(place: Sequence[object]) -> str:
    named = (
        place[1:] if len(place) > 1 and place[0] in ("body", "query", "path", "header") else place
    )
    return ".".join(str(part) for part in named) or "body"


def _detail(one: Mapping[str, Any]) -> str:
    value = one.get("input")
    shown = not is_secret_name(str(one["loc"][-1])) and isinstance(value, str | int | float)
    text = str(one["msg"]).removeprefix("Value error, ")
    return scrub(f"{text} (got {str(value)[:80]!r})" if shown else text)


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
