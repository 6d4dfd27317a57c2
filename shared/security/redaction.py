"""Keeps secrets out of logs and error texts: by name of the field, by form of the text, and by value."""

from __future__ import annotations

import re
from collections.abc import Mapping

STARS = "********"
_NAMES = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|authorization|cookie|credential|api_?key|master_key|private|sealed",
    re.IGNORECASE,
)
_FORMS = (
    # user:password@ in a URL
    (re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]*(?:@[^\s/@]*)*@"), r"\1:" + STARS + "@"),
    (re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), STARS),  # a JWT
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 " + STARS),
    (re.compile(r"\bwhsec_[\w+/=-]+"), STARS),
    (re.compile(r"(?<=/login#)[\w-]+"), STARS),
    (
        re.compile(
            r"(?i)([\"']?(?:password|passwd|secret|token|api_?key)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;}]+"
        ),
        r"\1" + STARS,
    ),
)
_DEEPEST = 6


def redacted(value: object, *, depth: int = 0) -> object:
    """The value with everything that looks like a secret starred out, at any depth."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {
            key: STARS if is_secret_name(str(key)) and item else redacted(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, depth=depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(str(value))


def scrub(text: str) -> str:
    """The text without URL passwords, tokens and the like."""
    for form, stars in _FORMS:
        text = form.sub(stars, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _NAMES.search(name) is not None
