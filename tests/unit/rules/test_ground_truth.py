"""The evaluator against the oracle, on the tracks that people annotated in real video."""

import random
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from shared.rules.document import load
from shared.rules.evaluator import Evaluator
from shared.rules.scene import Scene
from shared.rules.timeline import fixed
from shared.rules.values import Look, Sighting
from shared.vision.polygons import is_simple
from tests.engines.fixtures import Data
from tests.unit.rules import oracle
from tests.unit.rules.oracle import Fired, Path

SEQUENCES = {
    "ADL-Rundle-6": (1920, 1080, 30),
    "ETH-Sunnyday": (640, 480, 14),
    "KITTI-17": (1224, 370, 10),
    "TUD-Stadtmitte": (640, 480, 25),
    "pets09-s2l1-300": (768, 576, 7),
}

Rows = list[tuple[int, str, tuple[float, float, float, float]]]


@pytest.mark.data
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_all_operators_agree_with_the_oracle(sequence: str, test_data: Data) -> None:
    width, height, fps = SEQUENCES[sequence]
    rows = read(_file(test_data, sequence))
    chance = random.Random(sequence)
    total = 0
    for _ in range(3):
        zone, line = _zone(chance), _line(chance)
        documents = _documents(zone, line)
        expected = _expected(rows, (width, height, fps), zone, line)
        found = _evaluate(rows, (width, height, fps), documents)
        assert found == sorted(expected, key=_order)
        total += len(found)
    assert total > 10  # it is no agreement about nothing


def read(file: FilePath) -> Rows:
    rows: Rows = []
    for text in file.read_text().splitlines():
        frame, track, left, top, wide, high, *_ = text.split(",")
        rows.append((int(frame), track, (float(left), float(top), float(wide), float(high))))
    return rows


def _file(data: Data, sequence: str) -> FilePath:
    if sequence.startswith("pets"):
        return data.media(f"{sequence}.gt.txt")
    return data.mot(sequence)


def _zone(chance: random.Random) -> list[tuple[float, float]]:
    while True:
        count = chance.choice([3, 4, 8])
        points = [(chance.random(), chance.uniform(0.2, 1.0)) for _ in range(count)]
        if is_simple(tuple(points)):
            return points


def _line(chance: random.Random) -> tuple[tuple[float, float], tuple[float, float]]:
    return (chance.uniform(0.1, 0.9), 0.1), (chance.uniform(0.1, 0.9), 1.0)


def _documents(
    zone: list[tuple[float, float]], line: tuple[tuple[float, float], tuple[float, float]]
) -> list[dict[str, Any]]:
    matches: dict[str, dict[str, Any]] = {
        "enter": {"enter": {"class": "person", "zone": "z"}},
        "leave": {"leave": {"zone": "z"}},
        "dwell": {"dwell": {"class": ["person"], "zone": "z", "min": "1s500ms"}},
        "left-to-right": {"cross": {"class": "person", "line": "l", "dir": "L2R"}},
        "either-way": {"cross": {"line": "l"}},
        "crowd": {"count": {"class": "person", "zone": "z", "op": ">=", "n": 2}},
        "queue": {"count": {"class": "person", "zone": "z", "op": ">=", "n": 2, "for": "1s"}},
    }
    defs = {"zones": {"z": [list(p) for p in zone]}, "lines": {"l": [list(p) for p in line]}}
    return [{"id": name, "match": match, "defs": defs} for name, match in matches.items()]


def _expected(
    rows: Rows,
    shape: tuple[int, int, int],
    zone: list[tuple[float, float]],
    line: tuple[tuple[float, float], tuple[float, float]],
) -> list[Fired]:
    width, height, fps = shape
    paths: dict[str, Path] = {}
    for frame, track, (left, top, wide, high) in sorted(rows):
        path = paths.setdefault(track, Path(track))
        path.times.append(_time(frame, fps))
        path.feet.append(((left + wide / 2) / width, (top + high) / height))
    everyone = list(paths.values())
    frames = [_time(frame, fps) for frame in range(1, max(row[0] for row in rows) + 1)]
    return [
        *oracle.enters("enter", everyone, zone),
        *oracle.leaves("leave", everyone, zone),
        *oracle.dwells("dwell", everyone, zone, 1_500_000),
        *oracle.crosses("left-to-right", everyone, line, "L2R"),
        *_once_a_second(oracle.crosses("either-way", everyone, line, "any")),
        *_once_a_second(oracle.counts("crowd", everyone, zone, 2, 0, frames)),
        *_once_a_second(oracle.counts("queue", everyone, zone, 2, 1_000_000, frames)),
    ]


def _once_a_second(fired: list[Fired]) -> list[Fired]:
    """Two matches of a group in one second are one incident: its id is made from the second."""
    kept: list[Fired] = []
    for one in sorted(fired, key=lambda one: (one.rule, one.at)):
        group = one.tracks if one.rule == "either-way" else ()
        last = next(
            (k for k in reversed(kept) if not group or k.tracks == group),
            None,
        )
        if last is None or last.at // 1_000_000 != one.at // 1_000_000:
            kept.append(one)
    return kept


def _evaluate(
    rows: Rows, shape: tuple[int, int, int], documents: list[dict[str, Any]]
) -> list[Fired]:
    rules = [load(document) for document in documents]
    evaluator = Evaluator("cam", fixed(Scene(camera="cam"), rules))
    assert evaluator.refused == {}
    found = [
        Fired(match.rule, tuple(sorted(match.tracks)), match.matched_at)
        for look in looks(rows, shape)
        for match in evaluator.update(look).matches
        if match.outcome == "opened"
    ]
    return sorted(found, key=_order)


def looks(rows: Rows, shape: tuple[int, int, int]) -> Iterator[Look]:
    width, height, fps = shape
    by_frame: dict[int, list[Sighting]] = {}
    born: dict[str, int] = {}
    for frame, track, box in rows:
        at = _time(frame, fps)
        born.setdefault(track, at)
        by_frame.setdefault(frame, []).append(Sighting(track, "person", box, born[track]))
    for frame in range(1, max(by_frame) + 1):
        seen = tuple(by_frame.get(frame, ()))
        yield Look(at=_time(frame, fps), size=(width, height), seen=seen, period=1_000_000 // fps)


def _time(frame: int, fps: int) -> int:
    return (2 * (frame - 1) * 1_000_000 + fps) // (2 * fps)


def _order(one: Fired) -> tuple[str, int, tuple[str, ...]]:
    return one.rule, one.at, one.tracks
