"""Options after the question mark of a local source's URL, and the path before it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from services.ingest.sources.port import SourceError


class Playing(NamedTuple):
    """How a local source is played."""

    path: Path
    loop: bool
    paced: bool
    fps: float  # 0: not given


def playing(url: str, *, rated: bool = False) -> Playing:
    """Read `file:///path?loop=1&rate=max`; with `rated` also `fps`.

    Raises:
        SourceError: an unknown option or value, a host in front of the path, or no path.
    """
    parts = urlsplit(url)
    known = ("loop", "rate", *(("fps",) if rated else ()))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise SourceError("unreadable", f"url: unknown option {name!r}; use {', '.join(known)}")
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        example = f"{parts.scheme}:///folder/name"
        raise SourceError("unreadable", f"url: give a full path with three slashes, like {example}")
    return Playing(
        path=Path(unquote(parts.path)),
        loop=_one_of("loop", options.get("loop", "0"), ("0", "1")) == "1",
        paced=_one_of("rate", options.get("rate", "own"), ("own", "max")) == "own",
        fps=_rate(options.get("fps", "0")),
    )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SourceError("unreadable", f"url: {name}={value}; give one of {', '.join(allowed)}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 60:
        raise SourceError("unreadable", f"url: fps={text}; give a number from 0.1 to 60")
    return value
