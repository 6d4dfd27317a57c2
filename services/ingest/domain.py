"""Decisions of ingest, pure: when to try again, states' names, capture times, heartbeats, and who reads which camera."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from schemas.events.camera_configured import CameraConfigured

SECOND = 1_000_000
TRIES = 10
"""So many tries until a camera is called offline."""
LOGINS = 5
"""So many refused logins until we stop knocking: cameras lock out who guesses."""
LOCKED_OUT_S = 300.0
SHORTEST_S, LONGEST_S = 1.0, 60.0
STEADY = 10 * SECOND
"""A connection that stood this long was a good one: counting starts over."""

State: TypeAlias = Literal[
    "connecting", "online", "retrying", "offline", "auth_failed", "ended", "disabled", "error"
]


class Trouble(NamedTuple):
    """Why a connection ended or did not come to be."""

    kind: str  # as services.ingest.sources.port.Trouble
    reason: str


class Attempts(NamedTuple):
    """Tries since a camera was last well. `since`: host time of the first failure, microseconds."""

    failed: int = 0
    refused: int = 0
    since: int = 0

    def after(self, trouble: Trouble, now: int) -> Attempts:
        """With one more failure."""
        return Attempts(
            failed=self.failed + 1,
            refused=self.refused + 1 if trouble.kind == "auth" else 0,
            since=self.since or now,
        )


class Verdict(NamedTuple):
    """What a failure means: the state to show, and how long to wait before the next try."""

    state: State
    delay_s: float


def judge(attempts: Attempts, trouble: Trouble, now: int, chance: float) -> Verdict:
    """Decide after a failure. `attempts` includes it; `chance` is a random number in [0, 1).

    The wait is drawn from the whole span (full jitter, so that cameras that fell together do not return together).
    The span grows with the outage to a minute: a camera is tried again before its outage is half as long again.
    """
    if attempts.refused >= LOGINS:
        return Verdict("auth_failed", LOCKED_OUT_S)
    if trouble.kind == "unreadable":
        return Verdict("error", LONGEST_S / 2 + chance * LONGEST_S / 2)
    away_s = (now - attempts.since) / SECOND
    span = min(LONGEST_S, max(2 * SHORTEST_S, away_s / 2))
    delay = SHORTEST_S + chance * (span - SHORTEST_S)
    if trouble.kind == "undecodable":
        return Verdict("error", delay)
    return Verdict("retrying" if attempts.failed < TRIES else "offline", delay)


class Times:
    """Event times of one epoch: capture times that only grow, and a heartbeat for each whole second in between."""

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        self.last = opened_at - 1
        self._next_beat = opened_at + SECOND

    def capture(self, offset: int) -> int:
        """The capture time of the picture at this offset; strictly more than the one before."""
        self.last = max(self.opened_at + offset, self.last + 1)
        return self.last

    def beats(self, until: int) -> Iterator[int]:
        """The heartbeats due up to an event time, each once."""
        while self._next_beat <= until:
            yield self._next_beat
            self._next_beat += SECOND


def opening_time(now: int, age: int, last_at: int) -> int:
    """Event time at which an epoch opens whose first picture is `age` microseconds old.

    Never before what was already said of this camera, whatever the host's clock did meanwhile.
    """
    return max(now - max(0, age), last_at + 1)


def reopens(before: CameraConfigured, after: CameraConfigured) -> bool:
    """Whether a changed document means another connection; anything else is followed without one."""
    return (before.url, before.credentials, before.enabled) != (
        after.url,
        after.credentials,
        after.enabled,
    )


def adjusts(before: CameraConfigured, after: CameraConfigured) -> bool:
    """Whether a changed document means something to the reader that goes on reading."""
    return (before.masks, before.detect.rate) != (after.masks, after.detect.rate)


class Member(NamedTuple):
    """An ingest process that shares the cameras. `room`: cameras it may hold, None: any number."""

    name: str
    room: int | None = None


def assign(cameras: Collection[str], members: Collection[Member]) -> Mapping[str, str]:
    """The preferred owner of each camera; a camera that nobody has room for is missing.

    Rendezvous hashing (Thaler and Ravishankar 1998): each camera goes to the member that weighs most for it, so that
    a member that comes or goes moves its own share only. Where there is little room the heaviest pairs go first;
    that is the one stable matching, whatever the order of the arguments.
    """
    weighed = sorted(
        ((weight(one.name, camera), camera, one) for camera in cameras for one in members),
        reverse=True,
    )
    owners: dict[str, str] = {}
    given: Counter[str] = Counter()
    for _, camera, one in weighed:
        if camera not in owners and (one.room is None or given[one.name] < one.room):
            owners[camera] = one.name
            given[one.name] += 1
    return owners


def weight(member: str, camera: str) -> int:
    """How much a member wants a camera: the same number in every process, and evenly spread."""
    digest = blake2b(f"{member}\0{camera}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
