"""What is allowed and still worth saying about a rule."""

from collections.abc import Mapping

from shared.rules.across.plan import problems
from shared.rules.conditions import Condition, Joined, positives
from shared.rules.document import Rule
from shared.rules.errors import Problem, problem
from shared.rules.plan import Plan
from shared.rules.questions import OnCamera
from shared.rules.scene import Scene

MOMENTS = ("enter", "leave", "cross")
"""Operators that hold at one moment alone."""


def warnings(rule: Rule, scenes: Mapping[str, Scene]) -> list[Problem]:
    """Warnings about a rule that loads; `scenes` are the cameras that are known."""
    found = [*_about_itself(rule), *_about_moments(rule), *_about_cameras(rule, scenes)]
    if not rule.tests:
        found.append(
            problem(
                "$.tests",
                [],
                "the rule has no test",
                "add tests: [{dwell: 45.1s, fires: true}], so that a change cannot break it unseen",
            )
        )
    return found


def _about_itself(rule: Rule) -> list[Problem]:
    head, found = rule.head, []
    if not list(positives(rule.match)):
        found.append(
            problem(
                "$.match",
                "only negations",
                "the rule fires for whatever does nothing of it",
                "join it with what must be there, e.g. enter or count",
            )
        )
    if head.level in ("low", "info"):
        found.append(
            problem(
                "$.level",
                head.level,
                "incidents of this level are listed and not delivered",
                "use medium or above where somebody must be told",
            )
        )
    if head.verify.policy in ("hold", "demote"):
        found.append(
            problem(
                "$.verify.policy",
                head.verify.policy,
                "no verifier is configured: alerts go out at once, unchanged",
                "nothing to do; it takes effect once there is one",
            )
        )
    if head.status in ("draft", "deprecated"):
        found.append(
            problem(
                "$.status",
                head.status,
                "rules of this status are not evaluated",
                "use shadow, test or stable",
            )
        )
    return found


def _about_moments(rule: Rule) -> list[Problem]:
    if not _never_at_once(rule.match):
        return []
    return [
        problem(
            "$.match",
            "moments on several cameras",
            "moments on two cameras are never the same moment: the rule never fires",
            "add within, e.g. within: 30s, to all of them but one",
        )
    ]


def _never_at_once(match: Condition) -> bool:
    """Whether `all` joins moments of different cameras without a window."""
    if not isinstance(match, Joined) or not match.every:
        return False
    at_once = {
        part.camera
        for part in match.parts
        if isinstance(part, OnCamera) and part.name in MOMENTS and not part.within
    }
    return len(at_once) > 1


def _about_cameras(rule: Rule, scenes: Mapping[str, Scene]) -> list[Problem]:
    """A rule that names cameras must fit each; one that names none must fit some."""
    wanted = rule.head.scope.cameras
    found: list[Problem] = []
    for name in wanted:
        if name in scenes:
            found += _refused(rule, scenes[name])
        else:
            remedy = "add it, or correct the name"
            found.append(problem("$.scope.cameras", name, "there is no such camera", remedy))
    if rule.parts:
        return found or _about_sites(rule, scenes)
    if wanted:
        return found
    refused: tuple[Problem, ...] = ()
    for scene in scenes.values():
        refused = _refused(rule, scene)
        if not refused:
            break
    return list(refused)


def _about_sites(rule: Rule, scenes: Mapping[str, Scene]) -> list[Problem]:
    """A rule over several cameras sees those of one site, and must fit one."""
    sites: dict[str, dict[str, Scene]] = {}
    for name, scene in scenes.items():
        sites.setdefault(scene.site, {})[name] = scene
    wanted = [scenes[name].site for name in rule.head.scope.cameras]
    if len(set(wanted)) > 1:
        what = "the cameras are of different sites, and each site is seen by itself"
        return [problem("$.scope.cameras", sorted(set(wanted)), what, "write a rule for each site")]
    found = [problems(rule, site) for site in sites.values()]
    return [] if () in found else [one for refused in found[:1] for one in refused]


def _refused(rule: Rule, scene: Scene) -> tuple[Problem, ...]:
    return Plan(scene, [rule]).refused.get(rule.id, ())
