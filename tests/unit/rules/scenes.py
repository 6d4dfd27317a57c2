"""Small scenes for rule tests: tracks as lists of places, one frame every tenth of a second unless told otherwise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.rules.document import Rule, load
from shared.rules.evaluator import Evaluator
from shared.rules.scene import Scene
from shared.rules.timeline import fixed
from shared.rules.values import Look, Match, Sighting, Step

SQUARE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
UPRIGHT = ((0.5, 0.0), (0.5, 1.0))
SCENE = Scene(camera="cam", zones={"door": SQUARE}, lines={"gate": UPRIGHT})
TENTH = 100_000
IN, OUT = (0.5, 0.5), (0.05, 0.05)

Place = tuple[float, float] | None
Tracks = Mapping[str, Sequence[Place]]


def rule(match: Mapping[str, Any], **fields: object) -> Rule:
    return load({"id": fields.pop("id", "rule"), "match": match, **fields})


def evaluator(*rules: Rule, scene: Scene = SCENE) -> Evaluator:
    made = Evaluator(scene.camera, fixed(scene, list(rules)))
    assert made.refused == {}
    return made


def sighting(track: str, place: tuple[float, float], label: str = "person") -> Sighting:
    x, y = place
    return Sighting(track, label, (x * 1000 - 10, y * 1000 - 40, 20.0, 40.0), 0)


def look(at: int, seen: Iterable[Sighting] = (), held: frozenset[str] | None = None) -> Look:
    return Look(at=at, size=(1000, 1000), seen=tuple(seen), held=held, period=TENTH)


def frames(tracks: Tracks, *, step: int = TENTH, start: int = 0) -> Iterator[Look]:
    """One frame a place; None is a frame in which the track is not seen."""
    length = max(len(places) for places in tracks.values())
    for n in range(length):
        seen = [
            sighting(name, place)
            for name, places in tracks.items()
            if n < len(places) and (place := places[n]) is not None
        ]
        yield look(start + n * step, seen)


def run(made: Evaluator, looks: Iterable[Look]) -> list[Match]:
    return [match for one in looks for match in made.update(one).matches]


def steps(made: Evaluator, looks: Iterable[Look]) -> list[Step]:
    return [made.update(one) for one in looks]


def fired(match: Mapping[str, Any], tracks: Tracks, **fields: object) -> list[tuple[int, str]]:
    """(tenth of a second, tracks) of every match of one rule."""
    matches = run(evaluator(rule(match, **fields)), frames(tracks))
    return [(one.matched_at // TENTH, "+".join(one.tracks)) for one in matches]


def there(count: int) -> list[Place]:
    return [IN] * count


def away(count: int) -> list[Place]:
    return [OUT] * count


def unseen(count: int) -> list[Place]:
    return [None] * count
