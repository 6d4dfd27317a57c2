"""Durations as people write them (`45s`, `1m30s`, `10m`), as exact microseconds."""

import re
from fractions import Fraction

SECOND = 1_000_000

_UNITS = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
LONGEST = 366 * 86_400 * SECOND


class Duration(int):
    """A length of time in microseconds, above or at zero."""


def parse(text: object) -> Duration:
    """Microseconds of a written duration.

    Raises:
        ValueError: it is no text of numbers with units, finer than a microsecond, or over a year; the text
            after `; ` is the remedy.
    """
    if isinstance(text, bool) or not isinstance(text, str):
        raise ValueError(f"expected a duration with a unit; {_remedy(text)}")
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"expected a duration with a unit; {_remedy(text)}")
    parts = _PART.findall(text)
    sizes = [_UNITS[unit] for _, unit in parts]
    if sorted(set(sizes), reverse=True) != sizes:
        raise ValueError(
            "a duration names each unit once, the largest first; write it like 1h30m or 1m30s"
        )
    total = sum((Fraction(number) * _UNITS[unit] for number, unit in parts), Fraction(0))
    if total.denominator != 1:
        raise ValueError("a duration is finer than a microsecond; round it, e.g. 0.4s")
    if total > LONGEST:
        raise ValueError("a duration is longer than 366 days; write a shorter one")
    return Duration(total)


def _remedy(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number or (isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value)):
        return f"write the unit: {value}s (or ms, m, h, d)"
    return "write it like 45s, 1m30s or 10m"
