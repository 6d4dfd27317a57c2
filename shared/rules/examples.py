"""Inline tests of a rule: a small scene in words, and whether the rule must fire in it."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.rules.durations import Duration
from shared.rules.errors import refuse
from shared.rules.reading import read
from shared.rules.schedules import Day

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
SCENES = ("dwell", "cross", "count", "path")
MOST = 16


class Act(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens on a camera: one of `dwell`, `cross`, `count`, `path`.

    `dwell: 45.1s`: one track stands in the zone for so long. `cross: L2R`: one track walks over the line.
    `count: 8` with `for`: so many tracks stand in the zone. `path: [["0s", 0.1, 0.5], ["3s", 0.9, 0.5]]`: one
    track is at these places at these times and walks straight between them. `zone` and `line` default to the
    first the rule names, `class` to the first class, `camera` to the first; it begins `after` a while.
    """

    dwell: Duration | None = None
    cross: Literal["L2R", "R2L"] | None = None
    count: Annotated[int, Meta(ge=0, le=100)] | None = None
    path: tuple[tuple[Duration, float, float], ...] | None = None
    lasting: Duration = msgspec.field(name="for", default_factory=lambda: Duration(2_000_000))
    zone: str = ""
    line: str = ""
    label: str = msgspec.field(name="class", default="")
    camera: str = ""
    after: Duration = msgspec.field(default_factory=Duration)


class Example(Act, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test: one scene, or `scenes` on several cameras, when it happens, and whether the rule fires.

    `at` and `day` are the site's wall clock.
    """

    fires: bool
    scenes: tuple[Act, ...] = ()
    at: str = "12:00"
    day: Day = "mon"

    @property
    def acts(self) -> tuple[Act, ...]:
        """All that happens."""
        return self.scenes or (self,)


def parse_examples(raw: object, path: str) -> tuple[Example, ...]:
    """The `tests` of a document.

    Raises:
        RuleError: one that says no scene, several, or a time that is none.
    """
    if not isinstance(raw, list | tuple):
        raise refuse(path, raw, "tests are a list", "write tests: [{dwell: 45.1s, fires: true}]")
    return tuple(_example(item, f"{path}[{index}]") for index, item in enumerate(raw))


def _example(raw: object, path: str) -> Example:
    example = read(Example, raw, path)
    if example.scenes and any(_said(example)):
        raise refuse(f"{path}.scenes", _said(example), "scenes stand alone", "leave one out")
    if len(example.scenes) > MOST:
        raise refuse(f"{path}.scenes", len(example.scenes), "too many", f"at most {MOST}")
    for number, act in enumerate(example.acts):
        _check(act, f"{path}.scenes[{number}]" if example.scenes else path)
    if not _CLOCK.fullmatch(example.at):
        raise refuse(f"{path}.at", example.at, "not a time of day", 'write it as "23:00"')
    return example


def _said(act: Act) -> list[str]:
    return [name for name in SCENES if getattr(act, name) is not None]


def _check(act: Act, path: str) -> None:
    said = _said(act)
    if len(said) != 1:
        raise refuse(path, said, "a test has exactly one scene", f"use one of {', '.join(SCENES)}")
    if act.path is not None:
        times = [at for at, _, _ in act.path]
        if len(times) < 2 or sorted(set(times)) != times:
            raise refuse(
                f"{path}.path",
                times,
                "a path needs two or more places in time order",
                'write path: [["0s", 0.1, 0.5], ["3s", 0.9, 0.5]]',
            )
