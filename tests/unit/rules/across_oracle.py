"""A second, naive reading of rules over several cameras: whole histories at once, every moment from scratch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas.events.predicates_observed import Answer, Holder, PredicatesObserved

MICRO = 1_000_000
HOUR = 3600 * MICRO
NO, MAYBE, YES = -1, 0, 1


@dataclass(frozen=True)
class Fired:
    rule: str
    at: int
    camera: str
    tracks: frozenset[str]
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """A part held for a track on a camera from `since` until `last`."""

    camera: str
    holder: Holder
    since: int
    last: int


@dataclass(frozen=True)
class Found:
    value: int
    settled: int
    spans: tuple[Span, ...] = ()


Said = Sequence[PredicatesObserved]


def fires(
    rule: str, match: Mapping[str, Any], keys: Mapping[str, str], said: Said, named: frozenset[str]
) -> list[Fired]:
    """All matches. `match` names cameras in `cameras` of each question; `keys` are parts by the question's name."""
    fired: list[Fired] = []
    moments = sorted({one.observed_at for one in said})
    holds, memo = False, Memo()
    for at in moments:
        known = [one for one in said if one.observed_at <= at]
        found = _value(match, keys, known, (at, named, memo))
        if found.value == YES and not holds:
            first = min(one.camera for one in said if one.observed_at == at)
            fired.append(_fired(rule, at, found.spans, first))
        if found.settled == NO:
            holds = False
        elif found.settled == YES and found.value == YES:
            holds = True
    return fired


def _fired(rule: str, at: int, spans: tuple[Span, ...], first: str) -> Fired:
    newest = max((span.since for span in spans), default=0)
    camera = min((span.camera for span in spans if span.since == newest), default=first)
    return Fired(
        rule,
        at,
        camera,
        frozenset(span.holder.track for span in spans if span.holder.track),
        tuple(sorted({span.camera for span in spans} | {camera})),
    )


Memo = dict[int, tuple[int, tuple[Span, ...]]]
When = tuple[int, frozenset[str], Memo]
"""A moment, the cameras that the rule names, and what a count was at earlier moments."""


def _value(match: Mapping[str, Any], keys: Mapping[str, str], said: Said, when: When) -> Found:
    ((name, value),) = match.items()
    if name in ("all", "any"):
        parts = [_value(one, keys, said, when) for one in value]
        join = min if name == "all" else max
        spans = tuple(span for one in parts if one.value == YES for span in one.spans)
        return Found(join(p.value for p in parts), join(p.settled for p in parts), spans)
    if name == "not":
        part = _value(value, keys, said, when)
        return Found(-part.value, -part.settled)
    key = keys[value["part"]]
    if name == "on":
        return _on(value, key, said, when[0])
    if name == "distinct":
        return _distinct(value, key, said, when)
    return _counted(value, key, said, when)


def _on(asked: Mapping[str, Any], key: str, said: Said, at: int) -> Found:
    window = asked.get("within", 0)
    run = _run(key, [one for one in said if one.camera == asked["camera"]])
    spans = tuple(_within(key, run, at, window))
    nobody = MAYBE if _unsure(key, run, at, window) else NO
    steady = [span for span in spans if window or not span.holder.momentary]
    return Found(YES if spans else nobody, YES if steady else nobody, spans)


def _distinct(asked: Mapping[str, Any], key: str, said: Said, when: When) -> Found:
    spans, unsure = _together(key, said, when, (asked["cameras"], asked["within"]))
    values = {_name(span, asked["field"]) for span in spans} - {""}
    most = 10**9 if unsure else len(values)
    if asked["field"] == "camera":
        most = len(values | unsure)
    value = _between(asked["op"], asked["n"], len(values), most)
    return Found(value, value, tuple(spans))


def _counted(asked: Mapping[str, Any], key: str, said: Said, when: When) -> Found:
    at, named, memo = when
    moments = [m for m in sorted({one.observed_at for one in said}) if m <= at]
    for moment in moments if asked.get("for") else [at]:
        if moment not in memo:
            known = [one for one in said if one.observed_at <= moment]
            now = (moment, named, memo)
            spans, unsure = _together(key, known, now, (asked["cameras"], 0))
            most = 10**9 if unsure else len(spans)
            memo[moment] = _between(asked["op"], asked["n"], len(spans), most), tuple(spans)
    value, held = memo[at]
    if asked.get("for"):
        value = _lasted(moments, [memo[moment][0] for moment in moments], asked["for"])
    return Found(value, value, held)


def _lasted(moments: list[int], values: list[int], lasting: int) -> int:
    """The last value, if it was no other for so long but for 5 % unknown."""
    at = moments[-1]
    if values[-1] == NO:
        return NO
    last_no = max((i for i, value in enumerate(values) if value == NO), default=-1)
    if at - moments[last_no + 1] < lasting:
        return NO
    spells = [(moments[i], moments[i + 1]) for i, value in enumerate(values[:-1]) if value == MAYBE]
    too_much = _covered(spells, at - lasting, at) * 20 > lasting
    return MAYBE if values[-1] == MAYBE or too_much else YES


def _together(
    key: str, said: Said, when: When, asked: tuple[Sequence[str], int]
) -> tuple[list[Span], set[str]]:
    (at, named, _), (cameras, window) = when, asked
    spans, unsure = list[Span](), set[str]()
    for camera in cameras:
        own = [one for one in said if one.camera == camera]
        gone = not own or own[-1].closed or at - own[-1].observed_at > HOUR
        run = _run(key, own)
        spans += _within(key, run, at, window)
        if _unsure(key, run, at, window) and (camera in named or not gone):
            unsure.add(camera)
    return spans, unsure


def _run(key: str, said: Said) -> list[PredicatesObserved]:
    """The last statements in a row that answer the question."""
    run: list[PredicatesObserved] = []
    for one in said:
        run = [*run, one] if _answer(key, one) is not None else []
    return run


def _answer(key: str, said: PredicatesObserved) -> Answer | None:
    return next((one for one in said.answers if one.question == key), None)


def _stands(said: PredicatesObserved) -> int:
    return said.observed_at + max(3 * said.period, MICRO) + MICRO


def _spans(key: str, run: Said) -> Iterator[Span]:
    """When the question was answered with yes, from statement to statement."""
    for i, one in enumerate(run):
        answer = _answer(key, one)
        for holder in answer.holders if answer is not None else ():
            if holder.momentary:
                yield Span(one.camera, holder, one.observed_at, one.observed_at)
            elif not _held(key, run[i - 1] if i else None, holder.track):
                yield _followed(key, run[i:], holder)


def _followed(key: str, run: Said, holder: Holder) -> Span:
    end = 0
    while end + 1 < len(run) and _held(key, run[end + 1], holder.track):
        end += 1
    until = _stands(run[end])
    last = min(until, run[end + 1].observed_at) if end + 1 < len(run) else until
    return Span(run[0].camera, holder, run[0].observed_at, last)


def _held(key: str, said: PredicatesObserved | None, track: str) -> bool:
    answer = _answer(key, said) if said is not None else None
    if answer is None:
        return False
    return any(one.track == track and not one.momentary for one in answer.holders)


def _within(key: str, run: Said, at: int, window: int) -> Iterator[Span]:
    """The newest span of each track that reaches into the window; without one, those that hold now."""
    newest: dict[str, Span] = {}
    for span in _spans(key, run):
        now = run[-1].observed_at
        open_end = _held(key, run[-1], span.holder.track) and span.last == _stands(run[-1])
        if window:
            if at - span.last <= window:
                newest[span.holder.track] = span
        elif span.holder.momentary:
            if span.since == now == at:
                newest[span.holder.track] = span
        elif open_end and at <= span.last:
            newest[span.holder.track] = span
    yield from newest.values()


def _unsure(key: str, run: Said, at: int, window: int) -> bool:
    if not run:
        return True
    last = run[-1]
    answer = _answer(key, last)
    now = at > _stands(last) or (answer is not None and answer.unknown)
    if not window:
        return now
    spells = [(at - window, run[0].observed_at)] if run[0].observed_at > at - window else []
    for before, one in pairwise(run):
        said = _answer(key, before)
        if one.observed_at > _stands(before) or (said is not None and said.unknown):
            spells.append((before.observed_at, one.observed_at))
        spells += [(gap.since, gap.until) for gap in one.gaps]
    if now:
        spells.append((last.observed_at, at))
    return _covered(spells, at - window, at) * 20 > window


def _covered(spells: Sequence[tuple[int, int]], since: int, until: int) -> int:
    """The length of the union of the spells within a stretch."""
    edges = sorted({since, until, *(edge for spell in spells for edge in spell)})
    return sum(
        end - start
        for start, end in pairwise(edges)
        if since <= start
        and end <= until
        and any(spell[0] <= start and end <= spell[1] for spell in spells)
    )


def _name(span: Span, field: str) -> str:
    values = {
        "track": f"{span.camera}:{span.holder.track}",
        "camera": span.camera,
        "zone": span.holder.zone,
        "class": span.holder.label,
    }
    return values[field]


def _between(op: str, n: int, least: int, most: int) -> int:
    """Compare numbers one by one; far beyond n they are all alike."""
    holds = {
        {
            ">=": number >= n,
            ">": number > n,
            "<=": number <= n,
            "<": number < n,
            "==": number == n,
            "!=": number != n,
        }[op]
        for number in range(least, min(most, max(n, least) + 3) + 1)
    }
    return MAYBE if len(holds) == 2 else YES if holds == {True} else NO
