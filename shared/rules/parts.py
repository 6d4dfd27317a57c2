"""The parts of a rule over several cameras: what each camera is asked, under a name that says what it asks."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from shared.rules.conditions import Asked, Condition, Joined, Negated, questions
from shared.rules.errors import RuleError, refuse
from shared.rules.predicates.schedule import OnSchedule
from shared.rules.questions import Across, OnCamera


class Part(msgspec.Struct, frozen=True):
    """A condition that a camera answers by itself. Equal keys are the same question. No cameras: those in scope."""

    key: str
    condition: Condition
    cameras: tuple[str, ...]

    def concerns(self, camera: str) -> bool:
        """Say whether the camera is asked, if it is in the rule's scope."""
        return not self.cameras or camera in self.cameras


def parts(match: Condition, defs: Mapping[str, Any]) -> dict[str, Part]:
    """The parts of a match by their text; none where one camera answers alone. `defs`: the rule's own places."""
    found: dict[str, Part] = {}
    for asked in questions(match):
        before = found.get(asked.text)
        cameras = asked.cameras
        if before is not None:
            cameras = (*before.cameras, *cameras) if cameras and before.cameras else ()
        found[asked.text] = Part(_key(asked.text, defs), asked.condition, cameras)
    return found


def check(match: Condition, scope: Sequence[str], groups: Sequence[str]) -> None:
    """Hold that a match over several cameras asks each question of somebody.

    Raises:
        RuleError: an operator that is about one camera names none, or one outside the scope; it groups by what
            no two cameras share.
    """
    problems = [one for error in _errors(match, scope) for one in error.problems]
    if "track" in groups:
        problems += refuse(
            "$.group_by", list(groups), "a track is on one camera", "group by camera, zone or class"
        ).problems
    if problems:
        raise RuleError(problems)


def _errors(match: Condition, scope: Sequence[str]) -> Iterator[RuleError]:
    for one in _leaves(match):
        if isinstance(one, OnCamera) and scope and one.camera not in scope:
            remedy = "add it to scope.cameras"
            yield refuse(f"{one.path}.camera", one.camera, "the camera is not in the scope", remedy)
        elif isinstance(one, Asked) and not isinstance(one.predicate, OnSchedule):
            remedy = "write camera: name in it, or ask it in the `of` of a distinct"
            what = "in a rule over several cameras this operator must say which camera it is about"
            yield refuse(one.path, one.name, what, remedy)


def _leaves(match: Condition) -> Iterator[Asked | Across]:
    if isinstance(match, Asked | Across):
        yield match
    elif isinstance(match, Negated):
        yield from _leaves(match.part)
    elif isinstance(match, Joined):
        for part in match.parts:
            yield from _leaves(part)


def _key(text: str, defs: Mapping[str, Any]) -> str:
    """A rule's own id never begins with `~`."""
    whole = msgspec.json.encode([text, defs], order="sorted")
    return "~" + hashlib.sha256(whole).hexdigest()[:16]
