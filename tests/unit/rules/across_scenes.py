"""Statements of cameras for tests of rules over several of them, made by hand or drawn by hypothesis."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.events.predicates_observed import Answer, Gap, Holder, PredicatesObserved
from shared.rules.across.site import Outcomes, Site
from shared.rules.across.trails import Heard
from shared.rules.document import Rule, load
from shared.rules.scene import Scene
from shared.rules.timeline import History
from tests.unit.rules.scenes import SQUARE, UPRIGHT

SECOND = 1_000_000
TENTH = 100_000
START = 1_000 * SECOND
CAMERAS = ("a", "b", "c")


def scene(camera: str, site: str = "home") -> Scene:
    return Scene(
        camera=camera,
        site=site,
        version=1,
        zones={"door": SQUARE, "hall": SQUARE},
        lines={"gate": UPRIGHT},
    )


def histories(
    rules: Iterable[Rule], cameras: Iterable[str] = CAMERAS
) -> tuple[History[Scene], History[Rule]]:
    scenes, known = History[Scene](), History[Rule]()
    for name in cameras:
        scenes.put(name, 0, scene(name))
    for rule in rules:
        known.put(rule.id, -(1 << 62), rule)
    return scenes, known


def site(*rules: Rule, cameras: Iterable[str] = CAMERAS) -> Site:
    return Site("home", *histories(rules, cameras))


def across(match: Mapping[str, Any], **fields: object) -> Rule:
    return load({"id": fields.pop("id", "rule"), "match": match, **fields})


def key(rule: Rule, number: int = 0) -> str:
    """The key of the rule's n-th part."""
    return list(rule.parts.values())[number].key


def holder(track: str, *, momentary: bool = False, **fields: Any) -> Holder:
    values: dict[str, Any] = {"label": "person", "zone": "door", "line": "", "margin": 0.5}
    return Holder(track=track, momentary=momentary, **{"started_at": 0, **values, **fields})


def said(
    camera: str,
    tenths: int,
    answers: Mapping[str, Sequence[Holder] | None] | Sequence[Answer] = (),
    **fields: Any,
) -> PredicatesObserved:
    """A statement so many tenths of a second after the start; None: unknown, and nobody seen."""
    if isinstance(answers, Mapping):
        answers = [
            Answer(question, unknown=found is None, holders=tuple(found or ()))
            for question, found in answers.items()
        ]
    values: dict[str, Any] = {
        "site": "home",
        "camera_version": 1,
        "epoch": 1,
        "seq": tenths,
        "observed_at": START + tenths * TENTH,
        "said_at": START + tenths * TENTH,
        "period": TENTH,
        **fields,
    }
    return PredicatesObserved(camera=camera, answers=tuple(answers), **values)


def heard(place: Site, statements: Iterable[PredicatesObserved], first: int = 0) -> Outcomes:
    """What a site says to statements in the order in which they come."""
    found = Outcomes()
    for offset, one in enumerate(statements, start=first):
        outcomes = place.hear(Heard(one, "predicates", 0, offset))
        found.completed += outcomes.completed
        found.gaps += outcomes.gaps
        found.late += outcomes.late
    return found


def matched(outcomes: Outcomes) -> list[tuple[int, str]]:
    """(tenth of a second, tracks) of every match."""
    return [
        ((one.match.matched_at - START) // TENTH, "+".join(one.match.tracks))
        for one in outcomes.completed
    ]


def endings(cameras: Iterable[str], tenths: int) -> list[PredicatesObserved]:
    """Every camera is there once more, much later: what was said before is decided."""
    return [said(camera, tenths + n * 20) for n in range(8) for camera in cameras]


def story(seed: int, keys: Sequence[str], length: int = 40) -> list[PredicatesObserved]:
    """What some cameras say, in the order of event time: mostly every second, with holes, gaps and doubts."""
    chance = random.Random(seed)
    holes = [12, 17, 19, 21, 50, 101, 150] if chance.random() < 0.5 else []
    pauses = [1, 3, 5, 7, 10, 10] * chance.choice([2, 8, 20]) + holes
    doubts = chance.choice([0.0, 0.0, 0.02, 0.1])
    crowd = chance.choice([0.05, 0.2, 0.5])
    found: list[PredicatesObserved] = []
    for camera in CAMERAS[: chance.choice([1, 2, 3, 3, 3])]:
        tenths = chance.randint(0, 30)
        seen: dict[str, dict[str, str]] = {question: {} for question in keys}
        for _ in range(chance.randint(length // 2, length)):
            before, tenths = tenths, tenths + chance.choice(pauses)
            gaps: tuple[Gap, ...] = ()
            if tenths - before > 10 and chance.random() < 0.7:
                gaps = (Gap(START + before * TENTH, START + (tenths - 1) * TENTH),)
            told = [
                _answer(chance, camera, (question, seen[question]), (crowd, doubts))
                for question in keys
            ]
            found.append(said(camera, tenths, [one for one in told if one], gaps=gaps))
    return sorted(found, key=lambda one: (one.observed_at, one.camera))


def _answer(
    chance: random.Random, camera: str, asked: tuple[str, dict[str, str]], odds: tuple[float, float]
) -> Answer | None:
    """Tracks come and go; some hold for a moment. Now and then it is unknown, or was not asked."""
    question, seen = asked
    crowd, doubts = odds
    moments = []
    for track in "123":
        zone = chance.choice(["door", "hall"])
        if chance.random() < 0.25:
            seen.pop(track, None)
        elif chance.random() < crowd / 2:
            seen[track] = zone
        if track not in seen and chance.random() < crowd / 2:
            moments.append(holder(f"{camera}{track}", momentary=True, zone=zone))
    if chance.random() < doubts / 3:
        return None
    steady = [holder(f"{camera}{track}", zone=zone) for track, zone in seen.items()]
    return Answer(question, unknown=chance.random() < doubts, holders=(*steady, *moments))
