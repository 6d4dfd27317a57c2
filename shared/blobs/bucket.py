"""What stands in VANTAGE_BLOB_URL for an S3-compatible store: `s3://bucket[/prefix][?option=value&...]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from shared.blobs.port import is_name
from shared.errors import Setup
from shared.security.redaction import scrub

SETTING = "VANTAGE_BLOB_URL"
FORM = "s3://bucket[/prefix][?endpoint=https://host:port&region=name&ssl_ca_certs=/path]"
_OPTIONS = ("endpoint", "region", "ssl_ca_certs")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


class Bucket(NamedTuple):
    """Where blobs stand. `prefix` is empty or ends with a slash."""

    name: str
    prefix: str
    endpoint: str | None  # None: Amazon's own
    region: str | None
    ca: str | None  # PEM file of the authorities that may sign the endpoint's certificate

    @property
    def shown(self) -> str:
        """The bucket as people know it."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.name}/{self.prefix}{at}"


def parse(url: str) -> Bucket:
    """Read the URL.

    Raises:
        Setup: it is no such URL, names an unknown option, or a file that is not there.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        endpoint = urlsplit(options.get("endpoint", "https://default"))
        _ = endpoint.port
    except ValueError as error:
        raise _wrong(url, str(error)) from None
    if "@" in url:
        raise _wrong(
            "s3://...",
            "keys do not go into the URL; set VANTAGE_S3_ACCESS_KEY and VANTAGE_S3_SECRET_KEY",
        )
    for name in options:
        if name not in _OPTIONS:
            raise _wrong(url, f"unknown option {name!r}; known are {', '.join(_OPTIONS)}")
    if _BUCKET.fullmatch(parts.netloc) is None:
        raise _wrong(url, f"{parts.netloc!r} is no name of a bucket")
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
        raise _wrong(url, f"endpoint={options['endpoint']}; give https://host:port")
    ca = options.get("ssl_ca_certs")
    if ca is not None and not Path(ca).is_file():
        raise _wrong(url, f"ssl_ca_certs={ca}: there is no such file")
    return Bucket(
        name=parts.netloc,
        prefix=_prefix(url, parts.path.strip("/")),
        endpoint=options.get("endpoint"),
        region=options.get("region"),
        ca=ca,
    )


def _prefix(url: str, text: str) -> str:
    if not text:
        return ""
    if not all(map(is_name, text.split("/"))):
        raise _wrong(url, f"the prefix {text!r} may have letters, digits, '_', '.', '-' and '/'")
    return f"{text}/"


def _wrong(url: str, why: str) -> Setup:
    return Setup(f"{SETTING}={scrub(url)}: {why}. Write {FORM}.")
