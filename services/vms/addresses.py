"""What a camera's address may be, wherever it leads: one that a reader understands, with no secret in the clear."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from shared import playing
from shared.errors import Invalid
from shared.sim import address as sim

STREAMS = ("rtsp", "rtsps")
LOCAL = ("file", "images", "sim")
USER, PASSWORD = (
    "{user}",
    "{password}",
)  # stand for the login, in cameras that take it in the path or query

# A secret by its name, as it stands in queries and in paths like /user=admin_password=x_channel=1.
_SECRET = re.compile(
    r"(?:^|[^a-z])((?:pass(?:word|wd|phrase)?|pwd|psw|secret|[a-z_]*token|api_?key|auth)=)(?!\{password\})[^&;/?_#]",
    re.IGNORECASE,
)


def check_address(url: str, *, login: bool) -> None:
    """Hold that a reader of ours can make something of a URL (without its login); `login`: there is one.

    Raises:
        Invalid: names the part of the URL that is wrong, and the remedy. It never repeats a secret.
    """
    parts = urlsplit(url)
    if "#" in url:
        raise _wrong("a '#' ends the address there; write %23 where it belongs to the name")
    if parts.scheme in LOCAL:
        _check_local(url, parts.scheme, login=login)
    elif parts.scheme in STREAMS:
        _check_secrets(unquote(f"{parts.path}?{parts.query}"), login=login)
    else:
        known = ", ".join((*STREAMS, *LOCAL))
        raise _wrong(f"scheme {parts.scheme!r} is not read yet; use {known}")


def _check_local(url: str, scheme: str, *, login: bool) -> None:
    if login:
        raise Invalid(
            f"credentials: a camera of {scheme}: takes no login; leave it out", field="credentials"
        )
    if scheme == "sim":
        sim.parse(url)
    else:
        playing.parse(url, rated=scheme == "images")


def _check_secrets(place: str, *, login: bool) -> None:
    found = _SECRET.search(place)
    if found is not None:
        raise _wrong(
            f"the secret after {found[1]!r} would be shown in the clear; write {PASSWORD} in its place "
            f"(and {USER} for the user), and give the login as credentials: it is sealed"
        )
    if (USER in place or PASSWORD in place) and not login:
        raise Invalid(
            f"credentials: {USER} and {PASSWORD} in the url stand for the login and there is none; give it",
            field="credentials",
        )


def _wrong(why: str) -> Invalid:
    return Invalid(f"url: {why}", field="url")
