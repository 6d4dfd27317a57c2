"""How many track updates a second one core evaluates: 50 rules, 10 zones of 8 points, 10 tracks.

A track update is one track in one frame with all 50 rules evaluated for it. Margins, hysteresis and three values
are on. Run: `.venv/bin/python -m benchmarks.rules [--runs N]`.
"""

import argparse
import gc
import math
import random
import statistics
import time

from shared.rules.document import Rule, load
from shared.rules.evaluator import Evaluator
from shared.rules.scene import Scene
from shared.rules.timeline import fixed
from shared.rules.values import Look, Sighting

SIZE = (1280, 720)
FPS = 10
TRACKS = 10
FRAMES = 12_000  # twenty minutes: the grid of areas is worked out in the first of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    place, known, film = scene(), rules(), looks()
    gc.freeze()  # what was made so far is input; the evaluator's own garbage is collected as ever
    measured = [_measure(place, known, film) for _ in range(options.runs)]
    rates = [rate for rate, _ in measured]
    print(f"rules {len(known)}, zones {len(place.zones)}, tracks {TRACKS}, frames {len(film)}")
    print(f"matches {measured[0][1]}; yardstick: {_yardstick():,.0f} plain additions a second")
    print(
        f"track updates/s/core: median {statistics.median(rates):,.0f} "
        f"(min {min(rates):,.0f}, max {max(rates):,.0f}, runs {options.runs})"
    )


def _yardstick() -> float:
    """What this core gives a Python loop at this moment; a busy machine gives a third."""
    start, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return 1_000_000 / (time.process_time() - start)


def _measure(place: Scene, known: list[Rule], film: list[Look]) -> tuple[float, int]:
    evaluator = Evaluator(place.camera, fixed(place, known))
    matches = 0
    start = time.process_time()
    for look in film:
        matches += len(evaluator.update(look).matches)
    spent = time.process_time() - start
    return len(film) * TRACKS / spent, matches


def scene(camera: str = "bench") -> Scene:
    """Ten eight-pointed zones over the whole frame, and two lines."""
    zones = {}
    for number in range(10):
        cx, cy = 0.14 + 0.18 * (number % 5), 0.27 + 0.46 * (number // 5)
        zones[f"zone{number}"] = tuple(
            (cx + 0.13 * math.cos(k * math.pi / 4), cy + 0.26 * math.sin(k * math.pi / 4))
            for k in range(8)
        )
    lines = {"middle": ((0.5, 0.0), (0.5, 1.0)), "across": ((0.0, 0.5), (1.0, 0.5))}
    return Scene(camera=camera, zones=zones, lines=lines)


def rules() -> list[Rule]:
    """Fifty rules of every kind, all about persons, no two alike."""
    documents: list[dict[str, object]] = []
    for zone in range(10):
        where = {"class": "person", "zone": f"zone{zone}"}
        night = {"schedule": {"tz": "Europe/Berlin", "not_between": ["07:00", f"20:0{zone}"]}}
        documents += [
            {"match": {"enter": where}, "cooldown": "10s"},
            {"match": {"all": [night, {"dwell": {**where, "min": f"{5 + zone}s"}}]}},
            {"match": {"all": [{"leave": where}, {"min_track_age": f"{1 + zone}s"}]}},
            {
                "match": {"count": {**where, "op": ">=", "n": 2, "for": f"{1 + zone}s"}},
                "group_by": ["zone"],
                "cooldown": "1m",
                "merge_gap": "10s",
            },
            {
                "match": {
                    "any": [
                        {"cross": {"class": "person", "line": "middle", "dir": "L2R"}},
                        {"all": [{"dwell": {**where, "min": "3s"}}, {"not": {"enter": where}}]},
                    ]
                }
            },
        ]
    return [load({"id": f"rule{number:02}", **rule}) for number, rule in enumerate(documents)]


def looks(frames: int = FRAMES) -> list[Look]:
    """Tracks that wander, turn and stand; seeded."""
    chance = random.Random(7)
    places = [[chance.random(), chance.random(), 0.0, 0.0] for _ in range(TRACKS)]
    film = []
    for frame in range(frames):
        at = 1_700_000_000_000_000 + frame * 1_000_000 // FPS
        seen = tuple(_sighting(number, place, chance) for number, place in enumerate(places))
        film.append(Look(at=at, size=SIZE, seen=seen, held=frozenset(), period=1_000_000 // FPS))
    return film


def _sighting(number: int, place: list[float], chance: random.Random) -> Sighting:
    if chance.random() < 0.05:
        speed, heading = chance.choice([0.0, 0.004, 0.01]), chance.random() * math.tau
        place[2], place[3] = speed * math.cos(heading), speed * math.sin(heading)
    for axis in (0, 1):
        place[axis] = min(max(place[axis] + place[axis + 2], 0.05), 0.95)
    x, y = place[0] * SIZE[0], place[1] * SIZE[1]
    return Sighting(f"bench-1-{number}", "person", (x - 20.0, y - 90.0, 40.0, 90.0), 0)


if __name__ == "__main__":
    main()
