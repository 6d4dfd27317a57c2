"""Incidents: opened, extended, and moved from state to state."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic

Severity = Literal["critical", "high", "medium", "low", "info"]
State = Literal[
    "CANDIDATE",
    "SUPPRESSED",
    "ENRICHED",
    "PROVISIONAL",
    "OPEN",
    "ACKED",
    "RESOLVED",
    "CLOSED",
    "EXPIRED",
]
Margin = Annotated[float, Meta(description="Robustness of the match; at or above 0 it fired.")]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that made the decision: replay needs nothing else."""

    rule: str
    rule_version: str
    rule_hash: Annotated[str, Meta(description="SHA-256 of the canonical rule document.")]
    camera_version: Annotated[int, Meta(description="Version of zones, lines and masks.")]
    model: str
    tracker: str
    topic: Annotated[str, Meta(description="Topic of the event that completed the match.")]
    partition: int
    offset: int


class IncidentOpened(Event, frozen=True, kw_only=True):
    """A rule matched: an incident came into being. `suppressed` ones are counted, not delivered."""

    type: ClassVar[str] = "incident.opened"
    topics: ClassVar[tuple[Topic, ...]] = (topics.INCIDENTS,)

    incident: Annotated[
        str, Meta(description="UUIDv5 of site, rule, rule major, group and start second.")
    ]
    camera: CameraId
    epoch: int
    seq: Annotated[int, Meta(description="Frame that completed the match.")]
    title: str
    severity: Severity
    group: Annotated[str, Meta(description="Group key of the match, e.g. the track.")]
    label: str = ""
    tracks: tuple[str, ...] = ()
    zone: str = ""
    line: str = ""
    started_at: Micros
    matched_at: Micros
    margin: Margin
    suppressed: bool = False
    simulated: bool = False
    cameras: Annotated[
        tuple[CameraId, ...], Meta(description="All it rests on, where a rule sees several.")
    ] = ()
    snapshot: Annotated[str, Meta(description="Where the snapshot will stand in the blob store.")]
    cause: Cause

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.matched_at


class IncidentExtended(Event, frozen=True, kw_only=True):
    """A further match of the same rule and group was merged into an incident."""

    type: ClassVar[str] = "incident.extended"
    topics: ClassVar[tuple[Topic, ...]] = (topics.INCIDENTS,)

    incident: str
    camera: CameraId
    matched_at: Micros
    count: Annotated[
        int, Meta(ge=1, description="Matches merged into it so far, suppressed ones included.")
    ]
    suppressed: bool = False
    tracks: tuple[str, ...] = ()
    margin: Margin
    cause: Cause

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.matched_at


class IncidentMoved(Event, frozen=True, kw_only=True):
    """One transition of an incident's state; `seq` counts them from 1 without a gap."""

    type: ClassVar[str] = "incident.moved"
    topics: ClassVar[tuple[Topic, ...]] = (topics.INCIDENTS,)

    incident: str
    camera: CameraId
    seq: Annotated[int, Meta(ge=1)]
    source: Annotated[State | None, Meta(description="State before; null for the first.")]
    target: State
    moved_at: Micros
    actor: Annotated[str, Meta(description="`system` or the id of the person.")]
    reason: Annotated[
        str, Meta(description="Reason code, e.g. `no_verifier`, `cooldown`, `operator`.")
    ]
    outcome: Literal["tp", "fp", "unsure", ""] = ""

    @property
    def key(self) -> str:
        return self.camera

    @property
    def at(self) -> int:
        return self.moved_at
