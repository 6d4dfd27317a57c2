"""What is known of one part on one camera over the last while, from one statement of the camera to the next."""

from collections.abc import Iterator

import msgspec

from schemas.events.predicates_observed import Answer, PredicatesObserved
from shared.rules.durations import SECOND
from shared.rules.health import TOLERATED

Spell = tuple[int, int]


class Heard(msgspec.Struct, frozen=True):
    """A statement of a camera, and its place on the log."""

    event: PredicatesObserved
    topic: str
    partition: int
    offset: int

    @property
    def at(self) -> int:
        """Its event time."""
        return self.event.observed_at

    @property
    def frame(self) -> tuple[int, int]:
        """The newest frame that was looked at: of two statements of one moment, the later one has a later frame."""
        return self.event.epoch, self.event.seq

    @property
    def until(self) -> int:
        """So long its answers stand, if no other comes: statements are a second and a mark apart at most."""
        return self.at + max(3 * self.event.period, SECOND) + SECOND


class Held(msgspec.Struct, array_like=True):
    """A track for which a part held from `since` until `last`, or still does."""

    camera: str
    track: str
    label: str
    zone: str
    line: str
    started_at: int
    margin: float
    since: int
    last: int


class Trail(msgspec.Struct, array_like=True):
    """A part on a camera. `holding`: for whom it held as of the last statement; `pulsed`: at `pulsed_at` alone.

    `past`: for whom it held before, with the newest moment. `blanks`: when it was unknown, from and until.
    Before `known_from` nobody asked, or what was answered is forgotten.
    """

    unknown: bool = True
    holding: dict[str, Held] = {}
    pulsed: dict[str, Held] = {}
    pulsed_at: int = -1
    past: dict[str, Held] = {}
    blanks: list[Spell] = []
    known_from: int = -1

    def take(self, said: Answer, heard: Heard, before: Heard | None, keep: int) -> None:
        """The next statement of the camera; what is older than `keep` microseconds is forgotten."""
        at = heard.at
        self._blank(heard, before)
        self.known_from = max(self.known_from, at - keep) if self.known_from >= 0 else at
        self.unknown = said.unknown
        holding: dict[str, Held] = {}
        self.pulsed, self.pulsed_at = {}, at
        for one in said.holders:
            held = Held(
                camera=heard.event.camera,
                track=one.track,
                label=one.label,
                zone=one.zone,
                line=one.line,
                started_at=one.started_at,
                margin=one.margin,
                since=at,
                last=at,
            )
            if one.momentary:
                self.pulsed[one.track] = held
                continue
            standing = self.holding.pop(one.track, None)
            holding[one.track] = held if standing is None else standing
        if keep:
            over = at if before is None else min(at, before.until)
            ended = {t: msgspec.structs.replace(h, last=over) for t, h in self.holding.items()}
            past = self.past | ended | self.pulsed
            self.past = {t: h for t, h in past.items() if at - h.last <= keep}
        self.holding = holding
        self.blanks = [spell for spell in self.blanks if spell[1] > at - keep]

    def within(self, at: int, window: int, until: int) -> Iterator[Held]:
        """For whom it held at a moment within the last `window`; its last statement stands until `until`."""
        if window == 0:
            if at <= until:
                yield from self.holding.values()
                yield from self.pulsed.values() if self.pulsed_at == at else ()
            return
        if at - until <= window:
            yield from self.holding.values()
        for track, held in self.past.items():
            if track not in self.holding and at - held.last <= window:
                yield held

    def doubtful(self, at: int, window: int, said_at: int, until: int) -> bool:
        """Say whether over 5 % of the `window` that ends at `at` is unknown; without a window, this moment."""
        if window == 0:
            return self.unknown or at > until
        start = max(at - window, self.known_from)
        blank = start - (at - window) + blank_time(self.blanks, start, at)
        if self.unknown or at > until:
            blank += at - max(said_at, start)
        return blank * TOLERATED > window

    def _blank(self, heard: Heard, before: Heard | None) -> None:
        """Add what was unknown between the last statement and this one."""
        if before is None:
            return
        if self.unknown or heard.at > before.until:
            add_blank(self.blanks, before.at, heard.at)
        for gap in heard.event.gaps:
            add_blank(self.blanks, gap.since, min(gap.until, heard.at))


def add_blank(blanks: list[Spell], since: int, until: int) -> None:
    """Add a spell; those that touch become one, so that no moment counts twice."""
    if until <= since:
        return
    touching = [one for one in blanks if one[0] <= until and since <= one[1]]
    apart = [one for one in blanks if not (one[0] <= until and since <= one[1])]
    starts, ends = [since, *(one[0] for one in touching)], [until, *(one[1] for one in touching)]
    blanks[:] = sorted([*apart, (min(starts), max(ends))])


def blank_time(blanks: list[Spell], since: int, until: int) -> int:
    """How much of the time from `since` until `until` the spells take."""
    return sum(max(0, min(end, until) - max(start, since)) for start, end in blanks)
