"""Weekly times by the wall clock of a place: half-open, past midnight if need be, through daylight saving."""

import re
from datetime import datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from schemas.event import moment
from shared.rules.errors import RuleError, mapping, refuse, translated

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES = 24 * 60
MINUTE = 60_000_000


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a rule is meant: `between` two wall-clock times, or outside of them, on some days.

    `tz` is an IANA name, or `site` for the site's own. Both ends are "HH:MM"; the first belongs to the span and
    the second does not. A span that ends before it begins passes midnight and belongs to the day on which it began.
    """

    tz: str = "site"
    between: tuple[str, str] | None = None
    not_between: tuple[str, str] | None = None
    days: tuple[Day, ...] = ()

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """A schedule from its document.

        Raises:
            RuleError: unknown field, no time or day at all, a time that is none, an unknown time zone.
        """
        mapping(raw, path, "a schedule")
        try:
            schedule = msgspec.convert(raw, cls, strict=True)
        except msgspec.ValidationError as error:
            raise _explained(error, raw, path) from error
        schedule._check(path)
        return schedule

    def holds(self, at: int, zone: ZoneInfo) -> bool:
        """Say whether event time `at` (microseconds UTC) lies within, by the wall clock of `zone`."""
        local = moment(at).astimezone(zone)
        minute = local.hour * 60 + local.minute
        if self.between is not None:
            return self._within(self.between, minute, local)
        if self.not_between is not None and not self._on(local.weekday()):
            return False
        if self.not_between is not None:
            start, end = map(_minutes, self.not_between)
            inside = start <= minute < end if start < end else minute >= start or minute < end
            return not inside
        return self._on(local.weekday())

    def zone(self, site: str) -> ZoneInfo:
        """The time zone by whose wall clock it goes; `site` is the site's own.

        Raises:
            ZoneInfoNotFoundError: there is no such zone.
        """
        return ZoneInfo(site if self.tz == "site" else self.tz)

    def _within(self, span: tuple[str, str], minute: int, local: datetime) -> bool:
        start, end = map(_minutes, span)
        today = local.weekday()
        if start < end:
            return start <= minute < end and self._on(today)
        if minute >= start:
            return self._on(today)
        return minute < end and self._on((today - 1) % 7)

    def _on(self, weekday: int) -> bool:
        return not self.days or _DAYS[weekday] in self.days

    def _check(self, path: str) -> None:
        if self.between is not None and self.not_between is not None:
            raise refuse(
                path,
                [self.between, self.not_between],
                "both between and not_between",
                "keep one of them",
            )
        if self.between is None and self.not_between is None and not self.days:
            raise refuse(
                path, {}, "the schedule says no time", 'add between: ["20:00", "07:00"] or days'
            )
        for field in ("between", "not_between"):
            span = getattr(self, field)
            if span is not None:
                _check_span(span, f"{path}.{field}")
        if self.tz != "site":
            _check_zone(self.tz, f"{path}.tz")


def _check_span(span: tuple[str, str], path: str) -> None:
    for index, text in enumerate(span):
        if not _CLOCK.fullmatch(text) and not (index == 1 and text == "24:00"):
            raise refuse(f"{path}[{index}]", text, "not a time of day", 'write it as "07:00"')
    if _minutes(span[0]) == _minutes(span[1]):
        raise refuse(
            path, list(span), "the span begins where it ends", "leave it out to mean the whole day"
        )


def _check_zone(name: str, path: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise refuse(
            path, name, "there is no such time zone", "use an IANA name such as Europe/Berlin"
        ) from error


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return (int(hours) * 60 + int(minutes)) % (_DAY_MINUTES + 1)


def _explained(error: msgspec.ValidationError, raw: object, path: str) -> RuleError:
    """YAML 1.1 reads an unquoted 07:00 as the number 420: say so."""
    plain = translated(error, raw, path, Schedule)
    found = plain.problems[0]
    if "between" in found.path and "`int`" in found.message:
        return refuse(found.path, found.value, "a time of day is text", 'put it in quotes: "07:00"')
    return plain
