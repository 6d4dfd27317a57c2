"""Cameras and the rules over them in one hand, for tests of a rule and for replays: frames in, matches out."""

from collections.abc import Mapping, Sequence
from functools import partial

from schemas.events.predicates_observed import PredicatesObserved
from shared.rules.across.plan import problems
from shared.rules.across.site import Site
from shared.rules.across.teller import About, Teller
from shared.rules.across.trails import Heard
from shared.rules.document import Rule
from shared.rules.errors import Problem
from shared.rules.evaluator import Evaluator
from shared.rules.scene import Scene
from shared.rules.timeline import History, Timeline
from shared.rules.values import Look, Match


class Ensemble:
    """The cameras of one site. `refused`: rules that no camera fits, each with its problems."""

    def __init__(self, scenes: Mapping[str, Scene], rules: Sequence[Rule]) -> None:
        known, history = History[Scene](), History[Rule]()
        for name, scene in scenes.items():
            known.put(name, 0, scene)
        for rule in rules:
            history.put(rule.id, -(1 << 62), rule)
        self._scenes, self._rules = scenes, rules
        self._evaluators = {n: Evaluator(n, Timeline(n, known, history)) for n in scenes}
        self._tellers = {name: Teller(one) for name, one in self._evaluators.items()}
        self._site = Site(next(iter(scenes.values())).site, known, history)
        self._at: dict[str, int] = {}

    @property
    def refused(self) -> dict[str, tuple[Problem, ...]]:
        """Rules that no camera fits, each with its problems."""
        found = {rule.id: self._problems(rule) for rule in self._rules}
        return {name: problems for name, problems in found.items() if problems}

    def look(self, camera: str, look: Look) -> list[Match]:
        """What a frame of a camera brings; frames of all cameras come in the order of their times."""
        step = self._evaluators[camera].update(look)
        self._at[camera] = look.at
        teller = self._tellers[camera]
        said = teller.frame(look.at, partial(self._about, camera), changed=step.answers)
        return [*step.matches, *self._hear(said)]

    def close(self) -> list[Match]:
        """What was still waited for: all streams end."""
        found: list[Match] = []
        for camera, at in self._at.items():
            teller = self._tellers[camera]
            said = teller.mark(at, partial(self._about, camera), closed=True)
            found += self._hear(said)
        return found

    def _problems(self, rule: Rule) -> tuple[Problem, ...]:
        if rule.parts:
            return problems(rule, self._scenes)
        every = [one.refused.get(rule.id, ()) for one in self._evaluators.values()]
        return min(every, key=len)

    def _hear(self, said: PredicatesObserved | None) -> list[Match]:
        if said is None:
            return []
        heard = Heard(said, "predicates", 0, 0)
        return [one.match for one in self._site.hear(heard).completed]

    def _about(self, camera: str) -> About:
        scene, at = self._scenes[camera], self._at[camera]
        return About(
            site=scene.site,
            camera=camera,
            camera_version=scene.version,
            epoch=1,
            seq=0,
            said_at=at,
        )
