"""Rules over several cameras: 16 cameras with 10 tracks each, 12 rules; what both stages take of one core.

The first stage is measured with and without these rules, in turns; the second by the statements that the first one
says. Run: `.venv/bin/python -m benchmarks.across [--runs N]`.
"""

import argparse
import gc
import statistics
import time
from functools import partial
from typing import Any

from benchmarks.rules import FPS, SIZE, TRACKS, looks, rules, scene
from schemas.events.predicates_observed import PredicatesObserved
from shared.rules.across.site import Site
from shared.rules.across.teller import About, Teller
from shared.rules.across.trails import Heard
from shared.rules.document import Rule, load
from shared.rules.evaluator import Evaluator
from shared.rules.scene import Scene
from shared.rules.timeline import History, Timeline
from shared.rules.values import Look, Sighting

CAMERAS = 16
FRAMES = 1_200  # two minutes of each camera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    film, alone, several = looks(FRAMES), rules(), _several()
    gc.freeze()  # what was made so far is input
    first = [_first(film, alone, several) for _ in range(options.runs)]
    bare = statistics.median(without for without, _, _ in first)
    asked = statistics.median(spent for _, spent, _ in first)
    said = first[0][2]
    second = [_second(said, several) for _ in range(options.runs)]
    spent = statistics.median(one for one, _, _, _ in second)
    _, matches, size, dumped = second[0]
    seconds = FRAMES / FPS
    print(
        f"cameras {CAMERAS}, tracks {TRACKS}, rules {len(several)} beside {len(alone)} of one camera"
    )
    print(
        f"first stage, one camera: {bare / FRAMES * 1e6:.0f} us a frame, {asked / FRAMES * 1e6:.0f} us when asked"
    )
    print(f"statements/s: {len(said) / seconds:.0f} of {CAMERAS} cameras; matches {matches}")
    print(
        f"second stage: {len(said) / spent:,.0f} statements/s/core, {spent / seconds:.1%} of a core live"
    )
    print(f"checkpoint: {size / 1000:.0f} kB in {dumped * 1000:.1f} ms (runs {options.runs})")  # fmt: skip


def _several() -> list[Rule]:
    documents: list[dict[str, Any]] = []
    for zone in range(4):
        where = {"class": "person", "zone": f"zone{zone}"}
        documents += [
            {"match": {"count": {**where, "across": "cameras", "op": ">=", "n": 15 + zone, "for": "2s"}}},
            {"match": {"distinct": {"of": {"enter": where}, "field": "track", "op": ">=", "n": 20, "within": "30s"}}},
            {"match": {"distinct": {"of": {"dwell": {**where, "min": "5s"}}, "field": "camera", "op": ">=", "n": 4, "within": "10s"}}},
        ]  # fmt: skip
    return [
        load({"id": f"across{n:02}", "cooldown": "10s", **one}) for n, one in enumerate(documents)
    ]


def _first(
    film: list[Look], alone: list[Rule], several: list[Rule]
) -> tuple[float, float, list[PredicatesObserved]]:
    """Seconds without and with the rules over several cameras, and what all cameras say."""
    without, _ = _watch("camera0", film, alone)
    spent, _ = _watch("camera0", film, [*alone, *several])
    said = [
        one for n in range(CAMERAS) for one in _watch(f"camera{n}", _shifted(film, n), several)[1]
    ]
    return without, spent, sorted(said, key=lambda one: (one.observed_at, one.camera))


def _shifted(film: list[Look], number: int) -> list[Look]:
    """The same wandering, begun elsewhere in the film; times stay."""
    start = number * 61 % len(film)
    turned = film[start:] + film[:start]
    return [
        Look(
            at=at.at + number * 1_000,
            size=SIZE,
            seen=tuple(
                Sighting(f"camera{number}-{one.track}", one.label, one.box, one.born_at)
                for one in shown.seen
            ),
            held=frozenset(),
            period=at.period,
        )
        for at, shown in zip(film, turned, strict=True)
    ]


def _histories(cameras: list[str], known: list[Rule]) -> tuple[History[Scene], History[Rule]]:
    scenes, history = History[Scene](), History[Rule]()
    for name in cameras:
        scenes.put(name, 0, scene(name))
    for rule in known:
        history.put(rule.id, -(1 << 62), rule)
    return scenes, history


def _watch(
    camera: str, film: list[Look], known: list[Rule]
) -> tuple[float, list[PredicatesObserved]]:
    evaluator = Evaluator(camera, Timeline(camera, *_histories([camera], known)))
    teller, said = Teller(evaluator), list[PredicatesObserved]()
    start = time.process_time()
    for look in film:
        step = evaluator.update(look)
        if evaluator.asked:
            told = teller.frame(look.at, partial(_about, camera, look.at), changed=step.answers)
            said += [told] if told is not None else []
    return time.process_time() - start, said


def _about(camera: str, at: int) -> About:
    return About(site="", camera=camera, camera_version=1, epoch=1, seq=0, said_at=at)


def _second(said: list[PredicatesObserved], several: list[Rule]) -> tuple[float, int, int, float]:
    """Seconds for all statements, matches, and bytes and seconds of a checkpoint."""
    site = Site("", *_histories([f"camera{n}" for n in range(CAMERAS)], several))
    matches = 0
    start = time.process_time()
    for offset, one in enumerate(said):
        matches += len(site.hear(Heard(one, "predicates", 0, offset)).completed)
    spent = time.process_time() - start
    start = time.process_time()
    size = len(site.dump())
    return spent, matches, size, time.process_time() - start


if __name__ == "__main__":
    main()
