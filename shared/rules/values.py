"""What goes into the evaluator and what comes out of it."""

from typing import Literal

import msgspec

from schemas.event import Box
from schemas.events.incident_changes import Severity
from shared.rules.document import Status

Outcome = Literal["opened", "extended", "suppressed"]


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A track seen in a frame; `box` is left, top, width, height in pixels, `born_at` its first sample."""

    track: str
    label: str
    box: Box
    born_at: int


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of a camera as the evaluator sees it.

    `period`: expected microseconds between frames. `size`: width and height in pixels. `held`: tracks that live on
    unseen, as the tracker has it; None where no tracker is behind it: then 2 s unseen end a track.
    """

    at: int
    size: tuple[int, int]
    seen: tuple[Sighting, ...] = ()
    held: frozenset[str] | None = None
    period: int | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A rule matched in a group. `outcome` says what became of it; `incident_at` names its incident.

    `opened`: a new incident, begun by this match. `extended`: within `merge_gap` of the incident's last match.
    `suppressed`: within `cooldown` of the incident; counted, nothing else.
    `cameras`: all that a rule over several cameras rests on; `camera` is then that of its incident.
    """

    rule: str
    rule_version: str
    rule_hash: str
    status: Status
    severity: Severity
    title: str
    camera: str
    camera_version: int
    group: str
    tracks: tuple[str, ...]
    label: str
    zone: str
    line: str
    started_at: int
    matched_at: int
    margin: float
    outcome: Outcome = "opened"
    incident_at: int = 0
    count: int = 1
    cameras: tuple[str, ...] = ()

    def settle(self, outcome: Outcome, incident_at: int, count: int) -> None:
        """For the evaluator alone, before the match is given out: what became of it."""
        msgspec.structs.force_setattr(self, "outcome", outcome)
        msgspec.structs.force_setattr(self, "incident_at", incident_at)
        msgspec.structs.force_setattr(self, "count", count)


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A rule came within a quarter of its threshold and did not fire: -0.25 <= margin < 0."""

    rule: str
    camera: str
    track: str
    at: int
    margin: float


class CoverageGap(msgspec.Struct, frozen=True, kw_only=True):
    """A rule could not be decided: over 5 % of the window it needs was not covered (`since` to `until`)."""

    rule: str
    camera: str
    at: int
    since: int
    until: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The value (1 true, 0 unknown, -1 false) and margin of a rule now, for a track or for the frame."""

    rule: str
    track: str
    value: int
    margin: float


class Step(msgspec.Struct):
    """What one frame brought. `answers`: an answer to rules over several cameras changed."""

    matches: list[Match] = []
    near_misses: list[NearMiss] = []
    gaps: list[CoverageGap] = []
    answers: bool = False
