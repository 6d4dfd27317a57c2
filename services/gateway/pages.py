"""The sign-in page, its files, and the sessions of browsers: everything that sets a cookie."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.gateway.sessions import Sessions
from services.gateway.sessions import SignedIn as Fresh
from services.gateway.table import Table, merged
from shared.errors import NotFound, Unauthenticated
from shared.http import client_address
from shared.metrics import Metrics
from shared.security.doors import PUBLIC, SignedIn
from shared.security.guard import (
    ACCESS_COOKIE,
    CSRF_COOKIE,
    CSRF_HEADER,
    REFRESH_COOKIE,
    check_origin,
)
from shared.security.tokens import LIFETIME

HERE = Path(__file__).parent
FILES = {"login.css": "text/css", "login.js": "text/javascript", "session.js": "text/javascript"}
SESSIONS = "/api/v1/sessions"


class Credentials(BaseModel):
    """Name and password, or the secret of a sign-in link."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    password: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    secret: Annotated[str, Field(min_length=1, max_length=128)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Credentials":
        by_password = self.name is not None and self.password is not None
        if by_password == (self.secret is not None):
            raise ValueError("send name and password, or the secret of a sign-in link")
        return self


class Cookies:
    """Writes a session's cookies; `secure` where browsers reach us by TLS."""

    def __init__(self, *, secure: bool, days: int) -> None:
        self._secure = secure
        self._days = days

    def write(self, response: Response, fresh: Fresh) -> None:
        """Hand the tokens to the browser; scripts can read the CSRF value alone."""
        longest = self._days * 24 * 3600
        self._set(response, ACCESS_COOKIE, fresh.access, LIFETIME)
        self._set(response, REFRESH_COOKIE, fresh.refresh, longest, path=SESSIONS)
        if fresh.csrf is not None:
            self._set(response, CSRF_COOKIE, fresh.csrf, longest, hidden=False)

    def clear(self, response: Response) -> None:
        """Take them back."""
        self._set(response, ACCESS_COOKIE, "", 0)
        self._set(response, REFRESH_COOKIE, "", 0, path=SESSIONS)
        self._set(response, CSRF_COOKIE, "", 0, hidden=False)

    def _set(
        self,
        response: Response,
        name: str,
        value: str,
        age: int,
        *,
        path: str = "/",
        hidden: bool = True,
    ) -> None:
        response.set_cookie(
            name, value, max_age=age, path=path, secure=self._secure,
            httponly=hidden, samesite="strict",
        )  # fmt: skip


def make_session_router(sessions: Sessions, cookies: Cookies, metrics: Metrics) -> APIRouter:
    """Sign in, renew, sign out."""
    router = APIRouter(tags=["sessions"])
    _entrance(router, sessions, cookies, metrics)
    _exits(router, sessions, cookies)
    return router


def _entrance(router: APIRouter, sessions: Sessions, cookies: Cookies, metrics: Metrics) -> None:
    @router.post(SESSIONS, status_code=201, dependencies=PUBLIC)
    async def sign_in(body: Credentials, request: Request) -> Response:
        """Sign a browser in by password or link; the tokens come as cookies."""
        check_origin(request.headers, required=False)
        address = client_address(request)
        outcome = "refused"
        try:
            if body.secret is not None:
                fresh = await sessions.by_link(body.secret, address)
            else:
                fresh = await sessions.by_password(body.name or "", body.password or "", address)
            outcome = "accepted"
        finally:
            metrics.sign_ins.labels(outcome).inc()
        return _welcomed(cookies, fresh, 201)

    @router.post(f"{SESSIONS}/refresh", dependencies=PUBLIC)
    async def renew(request: Request) -> Response:
        """The next tokens of a browser's session; the refresh cookie and the CSRF header say which."""
        check_origin(request.headers, required=False)
        token = request.cookies.get(REFRESH_COOKIE)
        if token is None:
            raise Unauthenticated("sign in")
        fresh = await sessions.renew(token, request.headers.get(CSRF_HEADER, ""))
        return _welcomed(cookies, fresh, 200)


def _exits(router: APIRouter, sessions: Sessions, cookies: Cookies) -> None:
    async def ended(session: str | None, response: Response) -> Response:
        if session is not None:
            await sessions.end(session)
        cookies.clear(response)
        return response

    @router.delete(f"{SESSIONS}/current", status_code=204)
    async def sign_out(principal: SignedIn) -> Response:
        """Sign out: the session's tokens are refused at once, everywhere."""
        return await ended(principal.session, Response(status_code=204))

    @router.post("/logout")
    async def leave(principal: SignedIn) -> Response:
        """The same, for a form: leads back to the sign-in page."""
        return await ended(principal.session, RedirectResponse("/login", 303))


def make_page_router(title: str) -> APIRouter:
    """The sign-in page and its files."""
    router = APIRouter(include_in_schema=False, dependencies=PUBLIC)
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = templates.get_template("login.html").render(title=title)

    @router.get("/login")
    async def login() -> HTMLResponse:
        """The sign-in page. A link's secret stands in its fragment, which browsers never send."""
        return HTMLResponse(page)

    @router.get("/static/{name}")
    async def file(name: str) -> FileResponse:
        """A file of the page, or the script that keeps sessions of all pages alive."""
        if name not in FILES:
            raise NotFound(f"there is no {name}")
        headers = {"Cache-Control": "public, max-age=300"}
        return FileResponse(HERE / "static" / name, media_type=FILES[name], headers=headers)

    return router


def make_document_router(table: Table) -> APIRouter:
    """The description of the whole API."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi(request: Request, _: SignedIn) -> JSONResponse:
        """OpenAPI of all services."""
        return JSONResponse(merged(request.app.openapi(), table.documents()))

    return router


def _welcomed(cookies: Cookies, fresh: Fresh, status: int) -> Response:
    body: dict[str, Any] = {
        "name": fresh.user.name,
        "role": fresh.user.role,
        "has_password": bool(fresh.user.password),
        "expires_in": LIFETIME,
    }
    response = JSONResponse(body, status)
    cookies.write(response, fresh)
    return response
