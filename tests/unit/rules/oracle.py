"""A second, naive reading of `camrule/v1`: whole tracks at once, numpy, float-free times, nothing shared with ours."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MICRO = 1_000_000
Points = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Fired:
    rule: str
    tracks: tuple[str, ...]
    at: int


@dataclass
class Path:
    """One track: times in µs, foot points as fractions of the frame."""

    name: str
    times: list[int] = field(default_factory=list)
    feet: list[tuple[float, float]] = field(default_factory=list)


def inside(polygon: list[tuple[float, float]], feet: Points) -> NDArray[np.bool_]:
    """Even-odd by ray casting, the boundary inside; all points against all edges."""
    a = np.array(polygon)
    b = np.roll(a, -1, axis=0)
    x, y = feet[:, :1], feet[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_x = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    odd = np.sum(crosses & (x < at_x), axis=1) % 2 == 1
    edge = b - a
    length = np.hypot(edge[:, 0], edge[:, 1])
    distance = np.abs(edge[:, 0] * (y - a[:, 1]) - edge[:, 1] * (x - a[:, 0])) / length
    along = ((x - a[:, 0]) * edge[:, 0] + (y - a[:, 1]) * edge[:, 1]) / length
    on = np.any((distance <= 1e-9) & (along >= -1e-9) & (along <= length + 1e-9), axis=1)
    return np.asarray(odd | on)


@dataclass
class Spell:
    """A stay in a zone: its first sample, when it was confirmed, when it was known to be over."""

    since: int
    confirmed: int
    over: int
    left: bool
    seen: list[int]


def spells(path: Path, polygon: list[tuple[float, float]]) -> list[Spell]:
    """Stays of a track with hysteresis: 0.4 s in, 1.0 s out, 2 s unseen end everything."""
    found = []
    for stretch in _stretches(path):
        held = inside(polygon, np.array(stretch.feet))
        found += _spells_of_stretch(stretch.times, held)
    return found


def _spells_of_stretch(times: list[int], held: NDArray[np.bool_]) -> list[Spell]:
    found: list[Spell] = []
    i, end = 0, len(times)
    while i < end:
        if not held[i]:
            i += 1
            continue
        first = i
        while i < end and held[i] and times[i] - times[first] < 400_000:
            i += 1
        if i == end or not held[i]:
            continue
        spell = Spell(times[first], times[i], times[-1] + 2 * MICRO + 1, False, [])
        found.append(spell)
        i = _follow(times, held, i, spell)
    return found


def _follow(times: list[int], held: NDArray[np.bool_], i: int, spell: Spell) -> int:
    """From the confirming sample to the one after the stay."""
    out: int | None = None
    while i < len(times):
        if held[i]:
            out = None
            spell.seen.append(times[i])
        else:
            out = times[i] if out is None else out
            if times[i] - out >= MICRO:
                spell.over, spell.left = times[i], True
                return i + 1
        i += 1
    return i


def enters(rule: str, paths: list[Path], polygon: list[tuple[float, float]]) -> list[Fired]:
    return [Fired(rule, (p.name,), s.confirmed) for p in paths for s in spells(p, polygon)]


def leaves(rule: str, paths: list[Path], polygon: list[tuple[float, float]]) -> list[Fired]:
    return [Fired(rule, (p.name,), s.over) for p in paths for s in spells(p, polygon) if s.left]


def dwells(
    rule: str, paths: list[Path], polygon: list[tuple[float, float]], minimum: int
) -> list[Fired]:
    fired = []
    for path in paths:
        for spell in spells(path, polygon):
            reached = [at for at in spell.seen if at - spell.since >= minimum]
            if reached:
                fired.append(Fired(rule, (path.name,), reached[0]))
    return fired


Line = tuple[tuple[float, float], tuple[float, float]]


def crosses(rule: str, paths: list[Path], line: Line, way: str) -> list[Fired]:
    """Runs of samples on one side; a change of side counts if it goes through the segment and the new run settles.

    A run that was entered through the segment and did not settle is a step over the line and back: neither counts.
    """
    wanted = {"L2R": (1,), "R2L": (-1,), "any": (1, -1)}[way]
    fired = []
    for path in paths:
        for stretch in _stretches(path):
            runs = _runs(stretch, line)
            undecided = False
            for before, run in pairwise(runs):
                through = not undecided and _through(stretch, before, run, line)
                settled = _settled(stretch, run, line)
                undecided = through and settled is None
                if through and settled is not None and run.side in wanted:
                    fired.append(Fired(rule, (path.name,), settled))
    return fired


@dataclass
class Run:
    """Consecutive samples strictly on one side (those on the line itself left out)."""

    side: int
    samples: list[int]


def _stretches(path: Path) -> list[Path]:
    """The track cut where it was unseen for more than 2 s."""
    cut = [Path(path.name)]
    for at, foot in zip(path.times, path.feet, strict=True):
        if cut[-1].times and at - cut[-1].times[-1] > 2 * MICRO:
            cut.append(Path(path.name))
        cut[-1].times.append(at)
        cut[-1].feet.append(foot)
    return cut


def _offsets(feet: Points, line: Line) -> NDArray[np.float64]:
    a, b = np.array(line[0]), np.array(line[1])
    d = b - a
    return np.asarray(d[0] * (feet[:, 1] - a[1]) - d[1] * (feet[:, 0] - a[0]))


def _runs(path: Path, line: Line) -> list[Run]:
    runs: list[Run] = []
    for i, side in enumerate(np.sign(_offsets(np.array(path.feet), line)).astype(int)):
        if side == 0:
            continue
        if not runs or runs[-1].side != side:
            runs.append(Run(int(side), []))
        runs[-1].samples.append(i)
    return runs


def _through(path: Path, before: Run, run: Run, line: Line) -> bool:
    a, b = np.array(line[0]), np.array(line[1])
    first, last = before.samples[-1], run.samples[0]
    feet = np.array(path.feet[first : last + 1])
    if len(feet) > 2:  # it stood on the line in between
        along = (feet[1:-1] - a) @ (b - a)
        return bool(np.any((along >= 0) & (along <= (b - a) @ (b - a))))
    ends = _offsets(np.array([a, b]), (tuple(feet[0]), tuple(feet[1])))
    return bool(np.sign(ends[0]) * np.sign(ends[1]) <= 0)


def _settled(path: Path, run: Run, line: Line) -> int | None:
    far = np.abs(_offsets(np.array(path.feet), line)) / np.hypot(
        line[1][0] - line[0][0], line[1][1] - line[0][1]
    )
    for i in run.samples:
        if path.times[i] - path.times[run.samples[0]] >= 300_000 or far[i] >= 0.02:
            return path.times[i]
    return None


def counts(
    rule: str,
    paths: list[Path],
    polygon: list[tuple[float, float]],
    n: int,
    lasting: int,
    frames: list[int],
) -> list[Fired]:
    """`count >= n`, for as long as `lasting`; tracks are those inside at that frame."""
    everyone = [(path.name, spell) for path in paths for spell in spells(path, polygon)]
    fired = []
    since: int | None = None
    done = False
    for at in frames:
        there = {name for name, spell in everyone if spell.confirmed <= at < spell.over}
        if len(there) < n:
            since, done = None, False
            continue
        since = at if since is None else since
        if not done and at - since >= lasting:
            done = True
            fired.append(Fired(rule, tuple(sorted(there)), at))
    return fired
