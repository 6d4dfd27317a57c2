"""Decisions about cameras: their ids, the one spelling of their URLs, the shapes on their frames, their documents."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import msgspec

from schemas.events.camera_configured import CameraConfigured, Detect, Line, Mask, Zone
from shared.errors import Invalid
from shared.security.camera_login import CameraLogin
from shared.vision.polygons import area, is_simple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.event import Point

SETTLE_US = 2_000_000  # a document takes effect so long after it was changed
LONGEST_ID = 48
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_UNREADABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_NUMERIC_HOST = re.compile(r"[0-9.]+|0x[0-9a-f.x]+", re.ASCII)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cameras are."""

    id: str
    name: str
    time_zone: str


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as it is stored. `url` carries no login; `credentials` are sealed or empty."""

    id: str
    name: str
    enabled: bool = True
    url: str
    url_key: str
    credentials: str = ""
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    masks: tuple[Mask, ...] = ()
    detect: Detect = Detect()
    document_version: int = 0
    effective_at: int = 0
    created_at: int = 0
    changed_at: int = 0


def next_version(camera: Camera, *, now: int) -> Camera:
    """The camera after a change: one version on, in effect two seconds from now and never before the last one."""
    return msgspec.structs.replace(
        camera,
        document_version=camera.document_version + 1,
        effective_at=max(now + SETTLE_US, camera.effective_at + 1),
        changed_at=now,
    )


def document(camera: Camera, site: Site) -> CameraConfigured:
    """The camera's document, as everybody else sees it."""
    return CameraConfigured(
        camera=camera.id,
        name=camera.name,
        site=site.id,
        time_zone=site.time_zone,
        enabled=camera.enabled,
        url=camera.url,
        credentials=camera.credentials,
        zones=camera.zones,
        lines=camera.lines,
        masks=camera.masks,
        detect=camera.detect,
        document_version=camera.document_version,
        effective_at=camera.effective_at,
    )


def camera_id(name: str) -> str:
    """The id that a name gives: lower-case ASCII, words joined by `-`; a digest where nothing of it is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:LONGEST_ID].rstrip("-_")
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return slug or f"camera-{digest}"


def readable(text: str, field: str) -> str:
    """The text in its one Unicode form, without space around it.

    Raises:
        Invalid: it is empty, or has characters that nobody sees: controls, direction marks, zero-width ones.
    """
    hidden = next((mark for mark in text if unicodedata.category(mark) in _UNREADABLE), None)
    if hidden is not None:
        raise Invalid(
            f"{field}: the invisible character U+{ord(hidden):04X} is not allowed; remove it",
            field=field,
        )
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise Invalid(f"{field}: is empty; write a name", field=field)
    return text


def split_login(url: str) -> tuple[str, CameraLogin | None]:
    """A URL without its login, and the login, percent-decoded.

    Raises:
        Invalid: the URL cannot be read.
    """
    parts = _parts(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    username, _, password = login.partition(":")
    bare = urlunsplit(parts._replace(netloc=host))
    return bare, CameraLogin(username=unquote(username), password=unquote(password))


def spelling(url: str, address: str | None) -> str:
    """The one spelling of a camera's URL (without login): equal for the same place, however it is written.

    address: what the host was found to be; it stands for a host that is written as a number.
    """
    parts = _parts(url)
    host, port = _host(parts)
    if address is not None and (_NUMERIC_HOST.fullmatch(host) or ":" in host):
        host = address
    if ":" in host:
        host = f"[{host}]"
    given = port if port != _PORTS.get(parts.scheme) else None
    place = host if given is None else f"{host}:{given}"
    return urlunsplit((parts.scheme, place, _path(parts.path), parts.query, ""))


def apart(key: str) -> tuple[str, str]:
    """The host of a spelling (see `spelling`), and all else; no host where none is connected to."""
    parts = _parts(key)
    host, port = _host(parts)
    return (
        host if parts.scheme in _PORTS else "",
        f"{parts.scheme}:{port}{parts.path}?{parts.query}",
    )


def same_place(one: str, other: str) -> bool:
    """Whether two URLs lead to the same host and port by the same scheme: a login may go along."""
    first, second = _parts(one), _parts(other)
    return (first.scheme, *_host(first)) == (second.scheme, *_host(second))


def checked_shapes(zones: Sequence[Zone], lines: Sequence[Line], masks: Sequence[Mask]) -> None:
    """Hold that every shape is one that can be evaluated, and has a name of its own.

    Raises:
        Invalid: names the shape, the point, and what to do.
    """
    _check_polygons("zones", [(zone.name, zone.points) for zone in zones])
    _check_polygons("masks", [(mask.name, mask.points) for mask in masks])
    _own_names("lines", [line.name for line in lines])
    for number, line in enumerate(lines):
        _check_line(f"lines[{number}]", line)


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise Invalid(f"url: {error}; write one like rtsp://host/stream", field="url") from None


def _host(parts: SplitResult) -> tuple[str, int | None]:
    try:
        host = (parts.hostname or "").rstrip(".")
        return host, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise Invalid(f"url: {error}", field="url") from None


def _path(path: str) -> str:
    plain = quote(unquote(path), safe="/:@!$&'()*+,;=~-._")
    inside = posixpath.normpath(f"/{plain.lstrip('/')}")
    return "" if inside == "/" else inside


def _own_names(field: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise Invalid(
                f"{field}[{number}].name: {name!r} is there twice; give each its own name",
                field=f"{field}[{number}].name",
            )
        seen.add(name)


def _check_polygons(field: str, shapes: Sequence[tuple[str, tuple[Point, ...]]]) -> None:
    _own_names(field, [name for name, _ in shapes])
    for number, (name, points) in enumerate(shapes):
        _check_polygon(f"{field}[{number}]", name, points)


def _check_polygon(field: str, name: str, points: tuple[Point, ...]) -> None:
    _check_inside(f"{field}.points", name, points)
    if not is_simple(points):
        raise Invalid(
            f"{field}.points: the outline of {name!r} crosses or touches itself; "
            "give its corners in order, each once",
            field=f"{field}.points",
        )
    if not area(points) > 0.0:
        raise Invalid(
            f"{field}.points: {name!r} encloses no area; move a corner", field=f"{field}.points"
        )


def _check_line(field: str, line: Line) -> None:
    _check_inside(field, line.name, (line.a, line.b))
    if line.a == line.b:
        raise Invalid(
            f"{field}: {line.name!r} begins where it ends; give two different points", field=field
        )


def _check_inside(field: str, name: str, points: Sequence[Point]) -> None:
    for x, y in points:
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            raise Invalid(
                f"{field}: the point {x:g},{y:g} of {name!r} leaves the frame; "
                "write fractions of width and height from 0 to 1",
                field=field,
            )
