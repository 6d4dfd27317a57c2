"""Times that people write: RFC 3339, or an error that names the field."""

from __future__ import annotations

import re
from datetime import datetime

from schemas.event import micros
from shared.errors import Invalid

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_time(field: str, text: str | None) -> int | None:
    """Microseconds UTC; None for None.

    Raises:
        Invalid: it is no RFC 3339 time.
    """
    if text is None:
        return None
    try:
        if not _RFC3339.fullmatch(text):
            raise ValueError(text)
        return micros(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise Invalid(
            f"{field}: {text[:40]!r} is no RFC 3339 time; write one like 2026-01-31T12:00:00Z "
            "(a + in an address is written %2B)",
            field=field,
        ) from None
