"""How a film or a folder of pictures is played, as its URL says it: `file:///path?loop=1&rate=max`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import Invalid


class Playing(NamedTuple):
    """How a local source is played."""

    path: Path
    loop: bool
    paced: bool
    fps: float  # 0: not given


def parse(url: str, *, rated: bool = False) -> Playing:
    """Read `file:///path?loop=1&rate=max`; with `rated` also `fps`.

    Raises:
        Invalid: an unknown option or value, a host in front of the path, or no path.
    """
    parts = urlsplit(url)
    known = ("loop", "rate", *(("fps",) if rated else ()))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise _wrong(f"unknown option {name!r}; use {', '.join(known)}")
    return Playing(
        path=_path(parts.scheme, parts.netloc, unquote(parts.path)),
        loop=_one_of("loop", options.get("loop", "0"), ("0", "1")) == "1",
        paced=_one_of("rate", options.get("rate", "own"), ("own", "max")) == "own",
        fps=_rate(options.get("fps", "0")),
    )


def _path(scheme: str, host: str, path: str) -> Path:
    if host not in ("", "localhost") or not path.startswith("/") or not path.strip("/"):
        raise _wrong(f"give a full path with three slashes, like {scheme}:///folder/name")
    if "\0" in path:
        raise _wrong("no path has a NUL character (%00); remove it")
    return Path(path)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _wrong(f"{name}={value}; give one of {', '.join(allowed)}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 60:
        raise _wrong(f"fps={text}; give a number from 0.1 to 60")
    return value


def _wrong(why: str) -> Invalid:
    return Invalid(f"url: {why}", field="url")
